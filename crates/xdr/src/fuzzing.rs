//! Entry point for the fuzz target.

use crate::Decoder;

/// Reads `data` as a program of small reads: each byte of the first half chooses a reader, the second half is the
/// message. Nothing may panic, and the position may never pass the end.
pub fn fuzz_one(data: &[u8]) {
    let (program, message) = data.split_at(data.len() / 2);
    for mut d in [Decoder::new(message), Decoder::lossy(message)] {
        for op in program {
            let max = usize::from(*op) * 64;
            let ok = match op % 14 {
                0 => d.int().is_ok(),
                1 => d.uhyper().is_ok(),
                2 => d.bool().is_ok(),
                3 => d.double().is_ok(),
                4 => d.opaque(max).is_ok(),
                5 => d.string(max).is_ok(),
                6 => d.opt_string(max).is_ok(),
                7 => d.strings(max, max).is_ok(),
                8 => d.array::<Option<u64>>(max).is_ok(),
                9 => d.chars(max).is_ok(),
                10 => d.chars_fixed::<8>().is_ok(),
                11 => d.opaque_fixed(max).is_ok(),
                12 => d.array::<()>(max).is_ok(),
                _ => d.ushort().is_ok(),
            };
            assert!(d.position() + d.remaining() == message.len());
            if !ok {
                break;
            }
        }
    }
}
