//! `starling tx`: transactions, from their fields to their place in a block.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use bytes::Bytes;
use clap::{Args, Subcommand};
use serde::Serialize;
use starling_wire::{
    AccountId, NetworkId, SignedTx, Transaction, TxId,
    limits::{MAX_PAYLOAD, TX_OVERHEAD},
};

use super::{
    failure::{Failure, Kind},
    keyfile,
    output::{self, Output, facts},
    target::{Client, Target, is_not_found},
};
use crate::rpc::{ApiClient, Checked, Submitted, TxState, TxView};

/// Longest input, in bytes. The hex of the longest transaction is far shorter.
const MAX_INPUT: u64 = 1 << 20;

/// How often `tx get --wait` asks.
const POLL: Duration = Duration::from_millis(100);

/// Bytes of the optional expiry.
const EXPIRY: usize = 8;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print an unsigned transaction as JSON
    #[command(before_long_help = "Examples:
  starling tx new --sender 0x… --to 0x… --amount 5 > tx.json
  starling tx new --sender 0x… --to 0x… --amount 5 --network 7 --nonce 0 --fee 300")]
    New {
        /// The account that pays and signs
        #[arg(long, value_name = "ID")]
        sender: AccountId,
        #[command(flatten)]
        fields: Fields,
        #[command(flatten)]
        target: Target,
    },
    /// Sign a transaction and print it as hex; no node is needed
    #[command(before_long_help = "Examples:
  starling tx sign --key alice.pem tx.json
  starling tx new --sender 0x… --to 0x… --amount 5 | starling tx sign --key alice.pem | starling tx submit")]
    Sign {
        /// The sender's private key
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// The JSON of `tx new`; - for standard input
        #[arg(default_value = "-")]
        file: PathBuf,
    },
    /// Submit a signed transaction and print its id
    #[command(before_long_help = "Examples:
  starling tx submit 0x…
  starling tx submit signed.hex --dry-run")]
    Submit {
        /// Hex that starts with 0x, or a file with it; - for standard input
        #[arg(value_name = "HEX|FILE", default_value = "-")]
        tx: String,
        #[command(flatten)]
        how: How,
        #[command(flatten)]
        target: Target,
    },
    /// Make, sign and submit a transaction, and print its id
    #[command(before_long_help = "Examples:
  starling tx send --key alice.pem --to 0x… --amount 5
  starling tx send --key alice.pem --to 0x… --amount 5 --dry-run
  starling tx send --key alice.pem --to 0x… --amount 0 --payload-file note.txt")]
    Send {
        /// The sender's private key
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        #[command(flatten)]
        fields: Fields,
        #[command(flatten)]
        how: How,
        #[command(flatten)]
        target: Target,
    },
    /// Show a transaction that is in the pool or in a recent block
    #[command(before_long_help = "Examples:
  starling tx get 0x…
  starling tx get 0x… --wait 5s")]
    Get {
        /// The transaction's id
        id: TxId,
        /// Wait this long for the node to hear of it, e.g. 5s
        #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
        wait: Option<Duration>,
        #[command(flatten)]
        target: Target,
    },
}

/// How to submit.
#[derive(Debug, Args)]
pub(super) struct How {
    /// Only ask the node whether it would take the transaction
    #[arg(long)]
    dry_run: bool,
}

/// The fields of a transaction. The node is asked for those that are not given.
#[derive(Debug, Args)]
pub(super) struct Fields {
    /// The account that receives
    #[arg(long, value_name = "ID")]
    to: AccountId,
    /// How much it receives
    #[arg(long, value_name = "N")]
    amount: u64,
    /// What is paid for inclusion [default: what the node's pool asks for this length]
    #[arg(long, value_name = "N")]
    fee: Option<u64>,
    /// How many transactions of the sender come before [default: what the node knows]
    #[arg(long, value_name = "N")]
    nonce: Option<u64>,
    /// The network's number [default: the node's]
    #[arg(long, value_name = "N")]
    network: Option<u32>,
    /// Bytes to carry along, as hex that starts with 0x
    #[arg(long, value_name = "HEX", value_parser = parse_payload, conflicts_with = "payload_file")]
    payload: Option<Bytes>,
    /// A file whose bytes are carried along
    #[arg(long, value_name = "FILE")]
    payload_file: Option<PathBuf>,
    /// The last block that may include it [default: no limit]
    #[arg(long, value_name = "HEIGHT")]
    valid_until: Option<u64>,
}

fn parse_payload(text: &str) -> Result<Bytes, String> {
    let digits = text.strip_prefix("0x").ok_or("hex must start with 0x")?;
    hex::decode(digits).map(Bytes::from).map_err(|error| error.to_string())
}

impl Fields {
    /// The transaction, with what the node adds.
    async fn complete(&self, sender: AccountId, target: &Target) -> Result<Transaction, Failure> {
        let payload = self.read_payload()?;
        let mut client = None;
        let network = match self.network {
            Some(network) => NetworkId(network),
            None => {
                let client = ask(&mut client, target)?;
                client.http().node_info().await.map_err(|error| client.failure(error))?.network
            }
        };
        let nonce = match self.nonce {
            Some(nonce) => nonce,
            None => {
                let client = ask(&mut client, target)?;
                client.http().account_get(sender).await.map_err(|error| client.failure(error))?.next_nonce
            }
        };
        let fee = match self.fee {
            Some(fee) => fee,
            None => {
                let client = ask(&mut client, target)?;
                let pool = client.http().txpool_status().await.map_err(|error| client.failure(error))?;
                let bytes = TX_OVERHEAD + payload.len() + self.valid_until.map_or(0, |_| EXPIRY);
                pool.floor.max(1).checked_mul(bytes as u64).ok_or_else(|| {
                    anyhow!("the pool asks for {} per byte, more than can be paid; wait, or name a --fee", pool.floor)
                })?
            }
        };
        let (recipient, amount, valid_until) = (self.to, self.amount, self.valid_until);
        Ok(Transaction { network, sender, nonce, fee, recipient, amount, valid_until, payload })
    }

    fn read_payload(&self) -> Result<Bytes, Failure> {
        let payload = match (&self.payload, &self.payload_file) {
            (Some(payload), _) => payload.clone(),
            (None, Some(path)) => read_file(path, MAX_PAYLOAD as u64 + 1)?.into(),
            (None, None) => Bytes::new(),
        };
        if payload.len() > MAX_PAYLOAD {
            return Err(Failure::usage(format!(
                "the payload has more than the {MAX_PAYLOAD} bytes allowed; keep the data elsewhere and send its hash"
            )));
        }
        Ok(payload)
    }
}

/// The client, made when it is first needed.
fn ask<'a>(client: &'a mut Option<Client>, target: &Target) -> Result<&'a Client, Failure> {
    Ok(match client {
        Some(client) => client,
        None => client.insert(target.client()?),
    })
}

/// A signed transaction for other tools.
#[derive(Debug, Serialize)]
struct SignedView {
    id: TxId,
    raw: String,
}

pub(super) async fn run(command: Command, output: Output) -> Result<(), Failure> {
    match command {
        Command::New { sender, fields, target } => {
            let tx = fields.complete(sender, &target).await?;
            let mut json = serde_json::to_string_pretty(&tx).context("the transaction cannot be written as JSON")?;
            json.push('\n');
            // The form that `tx sign` reads, with --json and without.
            output::write(json.as_bytes())
        }
        Command::Sign { key, file } => {
            let key = keyfile::read(&key)?;
            let text = read_text(&file)?;
            let tx: Transaction = serde_json::from_str(&text)
                .map_err(|error| Failure::usage(format!("{} is no transaction in JSON: {error}", name_of(&file))))?;
            let tx = sign(tx, &key)?;
            let view = SignedView { id: tx.id(), raw: to_hex(&tx) };
            output.result("starling.signed-tx/1", &view, || view.raw.clone())
        }
        Command::Submit { tx, how, target } => {
            let text = if tx.starts_with("0x") { tx } else { read_text(Path::new(&tx))? };
            submit(&target.client()?, text.trim(), &how, output).await
        }
        Command::Send { key, fields, how, target } => {
            let key = keyfile::read(&key)?;
            let tx = sign(fields.complete(key.account(), &target).await?, &key)?;
            submit(&target.client()?, &to_hex(&tx), &how, output).await
        }
        Command::Get { id, wait, target } => {
            let view = get(&target.client()?, id, wait).await?;
            output.result("starling.tx/1", &view, || table(&view))
        }
    }
}

fn sign(tx: Transaction, key: &starling_wire::SecretKey) -> Result<SignedTx, Failure> {
    tx.sign(key).map_err(|error| Failure::usage(format!("cannot sign: {error}")))
}

fn to_hex(tx: &SignedTx) -> String {
    format!("0x{}", hex::encode(tx.bytes()))
}

async fn submit(client: &Client, hex: &str, how: &How, output: Output) -> Result<(), Failure> {
    if how.dry_run {
        let answer = client.http().tx_check(hex.to_owned()).await.map_err(|error| client.failure(error))?;
        return output.result("starling.checked/1", &answer, || {
            let _told = writeln!(io::stderr(), "{}", say_if(&answer));
            answer.id.to_string()
        });
    }
    let answer: Submitted = client.http().tx_send_raw(hex.to_owned()).await.map_err(|error| client.failure(error))?;
    output.result("starling.submitted/1", &answer, || {
        // The result is the id alone, for use in scripts.
        let _told = writeln!(io::stderr(), "{}", say(answer.state));
        answer.id.to_string()
    })
}

/// What would become of a transaction.
fn say_if(answer: &Checked) -> String {
    let place = match answer.state {
        TxState::Included => return "nothing to be done: it is in a block already".to_owned(),
        TxState::Pending => "ready for the next block",
        TxState::Queued => "waiting for an earlier nonce of its sender",
    };
    let replaces = if answer.replaced_bytes > 0 { ", in place of the one with its nonce" } else { "" };
    let evicts = match answer.displaced - u64::from(answer.replaced_bytes > 0) {
        0 => String::new(),
        count => format!(", and {count} would have to leave"),
    };
    format!("the node would take it: {place}{replaces}{evicts}; it was not submitted")
}

fn say(state: TxState) -> &'static str {
    match state {
        TxState::Pending => "in the pool, ready for the next block",
        TxState::Queued => "in the pool, waiting for an earlier nonce of its sender",
        TxState::Included => "in a block already",
    }
}

async fn get(client: &Client, id: TxId, wait: Option<Duration>) -> Result<TxView, Failure> {
    let since = Instant::now();
    loop {
        match (client.http().tx_get(id).await, wait) {
            (Ok(view), _) => return Ok(view),
            (Err(error), Some(wait)) if is_not_found(&error) => {
                if since.elapsed() >= wait {
                    let wait = humantime::format_duration(wait);
                    return Err(Failure::new(Kind::Timeout, anyhow!("the node has not heard of {id} within {wait}")));
                }
                tokio::time::sleep(POLL.min(wait.saturating_sub(since.elapsed()))).await;
            }
            (Err(error), _) => return Err(client.failure(error)),
        }
    }
}

fn table(view: &TxView) -> String {
    let tx = &view.transaction;
    let mut rows = vec![
        ("id", view.id.to_string()),
        ("state", say(view.state).to_owned()),
        ("sender", tx.sender.to_string()),
        ("recipient", tx.recipient.to_string()),
        ("amount", tx.amount.to_string()),
        ("fee", tx.fee.to_string()),
        ("nonce", tx.nonce.to_string()),
        ("bytes", view.bytes.to_string()),
        ("payload", format!("{} bytes", tx.payload.len())),
    ];
    rows.extend(view.height.map(|height| ("block", height.to_string())));
    rows.extend(tx.valid_until.map(|height| ("valid until block", height.to_string())));
    facts(rows)
}

fn name_of(file: &Path) -> String {
    if is_stdin(file) { "standard input".to_owned() } else { file.display().to_string() }
}

fn is_stdin(file: &Path) -> bool {
    file.as_os_str() == "-"
}

fn read_text(file: &Path) -> Result<String, Failure> {
    let bytes = read_file(file, MAX_INPUT + 1)?;
    if bytes.len() as u64 > MAX_INPUT {
        return Err(Failure::usage(format!("{} is too long to be a transaction", name_of(file))));
    }
    String::from_utf8(bytes).map_err(|_| Failure::usage(format!("{} is no text", name_of(file))))
}

/// At most `max` bytes of a file or of standard input.
fn read_file(file: &Path, max: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = if is_stdin(file) {
        io::stdin().lock().take(max).read_to_end(&mut bytes)
    } else {
        File::open(file).and_then(|file| file.take(max).read_to_end(&mut bytes))
    };
    read.map_err(|error| {
        let error = anyhow::Error::new(error).context(format!("cannot read {}", name_of(file)));
        Failure::new(Kind::Usage, error)
    })?;
    Ok(bytes)
}
