//! Where an address is: whom it can be reached by, and which networks it belongs to.
//!
//! Node keys cost nothing, and so do many addresses in one network; addresses in many networks do not. So whatever is
//! chosen is chosen among networks first.

use super::super::io::Address;

/// Levels of networks: of IPv4 the first 8, 16, 24 and 32 bits, of IPv6 the first 32, 48, 64 and 128.
pub(super) const NETWORKS: usize = 4;

/// Whom an address means something to, from the fewest to all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// Its own machine.
    Loopback,
    /// Its own network.
    Private,
    /// Everybody, as far as can be told: names are among them.
    Public,
}

/// The networks of an address. Addresses that are no IP addresses (names) share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(in super::super) struct Place {
    ip: Ip,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Ip {
    #[default]
    None,
    V4([u8; 4]),
    V6([u8; 16]),
}

impl Place {
    /// Of a binary multiaddr.
    pub(in super::super) fn of(address: &Address) -> Self {
        // The codes of /ip4 and /ip6.
        let ip = match address.0.split_first() {
            Some((4, rest)) => rest.first_chunk().map(|ip| Ip::V4(*ip)),
            Some((41, rest)) => rest.first_chunk().map(|ip| Ip::V6(*ip)),
            _ => None,
        };
        Self { ip: ip.unwrap_or_default() }
    }

    /// The network of a level, widest first.
    pub(super) fn network(&self, level: usize) -> &[u8] {
        match &self.ip {
            Ip::None => &[],
            Ip::V4(ip) => &ip[..(level + 1).min(ip.len())],
            Ip::V6(ip) => &ip[..[4, 6, 8, 16][level.min(3)]],
        }
    }

    /// What one owner is likely to have all of: a /16 of IPv4, a /32 of IPv6. `None` where it says nothing: on one
    /// machine or in one private network all nodes are neighbours.
    pub(super) fn owner(&self) -> Option<&[u8]> {
        match (&self.ip, self.reach()) {
            (Ip::V4(ip), Reach::Public) => Some(&ip[..2]),
            (Ip::V6(ip), Reach::Public) => Some(&ip[..4]),
            _ => None,
        }
    }

    /// Whom it means something to.
    pub(super) fn reach(&self) -> Reach {
        match self.ip {
            Ip::V4([127, ..] | [0, ..]) => Reach::Loopback,
            Ip::V4([10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [169, 254, ..] | [100, 64..=127, ..]) => {
                Reach::Private
            }
            Ip::V6(ip) if ip[..15] == [0; 15] => Reach::Loopback,
            Ip::V6([0xfc | 0xfd, ..] | [0xfe, 0x80..=0xbf, ..]) => Reach::Private,
            Ip::None | Ip::V4(_) | Ip::V6(_) => Reach::Public,
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.ip {
            Ip::None => f.write_str("-"),
            Ip::V4([a, b, ..]) => write!(f, "{a}.{b}.0.0/16"),
            Ip::V6(ip) => {
                write!(f, "{:x}:{:x}::/32", u16::from_be_bytes([ip[0], ip[1]]), u16::from_be_bytes([ip[2], ip[3]]))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(ip: [u8; 4]) -> Place {
        Place::of(&Address([&[4][..], &ip, &[6, 0x0f, 0xa1]].concat().into()))
    }

    #[test]
    fn addresses_belong_to_networks() {
        let place = v4([192, 0, 2, 7]);
        let networks: Vec<_> = (0..NETWORKS).map(|level| place.network(level).to_vec()).collect();
        assert_eq!(networks, [vec![192], vec![192, 0], vec![192, 0, 2], vec![192, 0, 2, 7]]);
        assert_eq!((place.owner(), place.to_string()), (Some(&[192, 0][..]), "192.0.0.0/16".to_owned()));
        let six = Place::of(&Address([&[41, 0x20, 1, 0xd, 0xb8][..], &[1; 12]].concat().into()));
        assert_eq!(six.network(1).len(), 6);
        assert_eq!((six.owner().map(<[u8]>::len), six.to_string()), (Some(4), "2001:db8::/32".to_owned()));
        for strange in [&[][..], &[4], &[4, 1, 2, 3], &[41, 1], &[53, 1, b'x']] {
            let place = Place::of(&Address(strange.to_vec().into()));
            assert_eq!((place.network(0), place.reach()), (&[][..], Reach::Public));
        }
    }

    #[test]
    fn some_addresses_mean_nothing_elsewhere() {
        for (ip, reach) in [
            ([127, 0, 0, 1], Reach::Loopback),
            ([10, 1, 2, 3], Reach::Private),
            ([172, 31, 0, 1], Reach::Private),
            ([172, 32, 0, 1], Reach::Public),
            ([192, 168, 0, 1], Reach::Private),
            ([8, 8, 8, 8], Reach::Public),
        ] {
            assert_eq!(v4(ip).reach(), reach, "{ip:?}");
        }
        assert_eq!(v4([10, 0, 0, 1]).owner(), None);
        let mut local = [0; 17];
        (local[0], local[16]) = (41, 1);
        assert_eq!(Place::of(&Address(local.to_vec().into())).reach(), Reach::Loopback);
    }
}
