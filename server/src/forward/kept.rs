//! What a destination keeps between records, as bytes: two parts, each with its length before it.

/// Puts the parts together.
pub(super) fn encode(adapter: &[u8], metrics: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(adapter.len() + metrics.len() + 16);
    for part in [adapter, metrics] {
        bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

/// Takes them apart; `None` if they are none.
pub(super) fn decode(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (adapter, rest) = part(bytes)?;
    let (metrics, rest) = part(rest)?;
    rest.is_empty().then_some((adapter, metrics))
}

fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<8>()?;
    rest.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back_and_cut_ones_do_not() {
        let bytes = encode(b"one", b"two");
        assert_eq!(decode(&bytes), Some((b"one".as_slice(), b"two".as_slice())));
        assert!((0..bytes.len()).all(|len| decode(&bytes[..len]).is_none()));
    }
}
