//! `reports.json`.

use serde::{Deserialize, Serialize};
use starling_wire::{
    Figures, GenesisId, NodeId, Report, SecretKey, SignedReport,
    limits::{MAX_FILL, MAX_RATE, REPORT},
    report,
};

use super::golden::{Dec, Hex, array, golden, secret};

/// The genesis that the reports are signed for.
const REPORT_GENESIS: GenesisId = GenesisId([0x22; 32]);

/// What the prints are made with.
pub(super) const REPORT_SALT: u64 = 0x1817_1615_1413_1211;

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReportVector {
    name: String,
    seed: Hex,
    genesis: GenesisId,
    epoch: u32,
    node: NodeId,
    program: [u8; 3],
    links: u8,
    pool_txs: u32,
    pool_bytes: u32,
    pool_fill: u16,
    admitted: u32,
    floor: u32,
    fees: [u32; 3],
    id: Hex,
    rank: Dec,
    salt: Dec,
    print: u16,
    signature: Hex,
    pub(super) encoded: Hex,
}

impl ReportVector {
    fn new(name: &str, seed: u8, program: [u8; 3], figures: Figures) -> Self {
        let key = SecretKey::from_seed(&[seed; 32]);
        let report = Report::sign(58_907_520, program, figures, &key, &REPORT_GENESIS);
        let Figures { links, pool_txs, pool_bytes, pool_fill, admitted, floor, fees } = figures;
        Self {
            name: name.to_owned(),
            seed: Hex(vec![seed; 32]),
            genesis: REPORT_GENESIS,
            epoch: report.report().epoch,
            node: key.node(),
            program,
            links,
            pool_txs,
            pool_bytes,
            pool_fill,
            admitted,
            floor,
            fees,
            id: Hex(report.id().to_vec()),
            rank: Dec(report.report().rank()),
            salt: Dec(REPORT_SALT),
            print: report.print(REPORT_SALT),
            signature: Hex(report.signed().signature.0.to_vec()),
            encoded: Hex(report.signed().bytes()),
        }
    }

    fn figures(&self) -> Figures {
        let Self { links, pool_txs, pool_bytes, pool_fill, admitted, floor, fees, .. } = *self;
        Figures { links, pool_txs, pool_bytes, pool_fill, admitted, floor, fees }
    }

    fn check(&self) {
        let name = &self.name;
        let signed = Report::sign(self.epoch, self.program, self.figures(), &secret(&self.seed), &self.genesis);
        assert_eq!(signed.signed().bytes(), self.encoded.0, "{name}");
        assert_eq!(self.encoded.0.len(), REPORT, "{name}");
        let decoded = SignedReport::decode(&self.encoded.0).unwrap();
        assert_eq!((decoded.report.node, decoded.report.figures), (self.node, self.figures()), "{name}");
        assert_eq!(decoded.id(&self.genesis).to_vec(), self.id.0, "{name}");
        assert_eq!(decoded.signature.0.to_vec(), self.signature.0, "{name}");
        let verified = decoded.verify(self.genesis).unwrap();
        assert_eq!((verified.report().rank(), verified.print(self.salt.0)), (self.rank.0, self.print), "{name}");
    }
}

/// In the order of their ranks.
pub(super) fn reports() -> Vec<ReportVector> {
    let most = Figures {
        links: u8::MAX,
        pool_txs: u32::MAX,
        pool_bytes: u32::MAX,
        pool_fill: MAX_FILL,
        admitted: MAX_RATE,
        floor: u32::MAX,
        fees: [u32::MAX; 3],
    };
    let distinct = Figures {
        links: 16,
        pool_txs: 0x0403_0201,
        pool_bytes: 0x0807_0605,
        pool_fill: 0x0109,
        admitted: 0x0e0d_0c0b,
        floor: 0x1211_100f,
        fees: [0x1615_1413, 0x1a19_1817, 0x1e1d_1c1b],
    };
    let mut vectors = vec![
        ReportVector::new("an empty pool", 1, [0, 1, 0], Figures::default()),
        ReportVector::new("every field distinct", 2, [1, 2, 3], distinct),
        ReportVector::new("the most that can be said", 3, [255, 255, 255], most),
    ];
    vectors.sort_by_key(|vector| vector.rank.0);
    vectors
}

pub(super) fn report_digest() -> Hex {
    let ids: Vec<[u8; 32]> = reports().iter().map(|vector| array(&vector.id.0)).collect();
    Hex(report::digest(ids.iter()).to_vec())
}

pub(super) fn prints(count: usize) -> Vec<u16> {
    reports().iter().take(count).map(|vector| vector.print).collect()
}

#[test]
fn reports_json() {
    let about =
        "Reports of one epoch, in the order of their ranks: fields, id, rank, print with a salt, signature and bytes.";
    golden("reports.json", about, reports(), ReportVector::check);
}
