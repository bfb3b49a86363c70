//! NAL units behind lengths of one to three bytes, written anew behind lengths of four.

use crate::slab::{AuBytes, AuWriter, PageClass, Pool};

/// Copies `unit` with wider lengths; the reason if it is broken or there is no page.
///
/// The length fields and the units may lie across pages, so the copy walks byte runs: this is the
/// one place where a payload is copied twice, for encoders that nobody builds any more.
pub(super) fn widen(
    unit: &AuBytes,
    length_bytes: u8,
    writer: &mut AuWriter,
    pool: &Pool,
) -> Result<AuBytes, &'static str> {
    let result = copy(unit, length_bytes, writer, pool);
    match result {
        Ok(()) => Ok(writer.finish(pool)),
        Err(reason) => {
            writer.abort(pool);
            Err(reason)
        }
    }
}

fn copy(
    unit: &AuBytes,
    length_bytes: u8,
    writer: &mut AuWriter,
    pool: &Pool,
) -> Result<(), &'static str> {
    let (mut length, mut length_left, mut left) = (0_u32, length_bytes, 0_usize);
    for mut chunk in pool.chunks(unit) {
        while let Some((&byte, rest)) = chunk.split_first() {
            if left == 0 {
                length = length << 8 | u32::from(byte);
                length_left -= 1;
                chunk = rest;
                if length_left == 0 {
                    append(writer, pool, &length.to_be_bytes())?;
                    left = length as usize;
                    (length, length_left) = (0, length_bytes);
                }
                continue;
            }
            let (now, later) = chunk.split_at(left.min(chunk.len()));
            append(writer, pool, now)?;
            left -= now.len();
            chunk = later;
        }
    }
    if left > 0 || length_left != length_bytes { Err("nal_length") } else { Ok(()) }
}

fn append(writer: &mut AuWriter, pool: &Pool, bytes: &[u8]) -> Result<(), &'static str> {
    // COPY(nal-length): units behind short length fields.
    writer.append(pool, PageClass::Large, bytes).map_err(|_| "memory")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slab::{Region, RegionConfig};

    #[test]
    fn lengths_grow_to_four_bytes_and_payloads_stay() {
        let (large, small) = (4, 0);
        let config = RegionConfig {
            shards: 1,
            large_pages_per_shard: large,
            small_pages_per_shard: small,
            poison: true,
        };
        let pool = Region::map(&config).unwrap().1.remove(0);
        for length_bytes in 1..=3_u8 {
            let nals = [vec![1; 200], vec![], vec![2; 3]];
            let (mut narrow, mut wide) = (Vec::new(), Vec::new());
            for nal in &nals {
                let length = u32::try_from(nal.len()).unwrap().to_be_bytes();
                narrow.extend_from_slice(&length[4 - usize::from(length_bytes)..]);
                narrow.extend_from_slice(nal);
                wide.extend_from_slice(&length);
                wide.extend_from_slice(nal);
            }
            let mut source = AuWriter::new();
            // The unit crosses a page, and so does a length field.
            source.append(&pool, PageClass::Large, &vec![0; (64 << 10) - 1]).unwrap();
            let before = source.finish(&pool);
            source.append(&pool, PageClass::Large, &narrow).unwrap();
            let unit = source.finish(&pool);
            let mut writer = AuWriter::new();
            let widened = widen(&unit, length_bytes, &mut writer, &pool).unwrap();
            assert_eq!(pool.chunks(&widened).collect::<Vec<_>>().concat(), wide);
            source.append(&pool, PageClass::Large, &narrow[..narrow.len() - 1]).unwrap();
            let cut = source.finish(&pool);
            assert_eq!(
                widen(&cut, length_bytes, &mut writer, &pool).map(|_| ()),
                Err("nal_length")
            );
            for unit in [before, unit, widened, cut] {
                pool.release(unit);
            }
            source.close(&pool);
            writer.close(&pool);
            assert_eq!(pool.usage(PageClass::Large).in_use, 0);
        }
    }
}
