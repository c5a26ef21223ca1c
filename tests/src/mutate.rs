//! Pseudo-random changes to byte strings, the same in every run: a smoke test for parsers that the
//! fuzzers of `fuzz/` work on in earnest.

/// A small generator (xorshift64*); good enough to spread bytes, and repeatable.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator whose numbers depend on `seed` alone.
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `limit` (0 when `limit` is 0).
    pub fn below(&mut self, limit: usize) -> usize {
        if limit == 0 { 0 } else { (self.number() % limit as u64) as usize }
    }
}

/// `seed` with one to four changes: a bit, a byte, a cut, a doubled or removed stretch, a number
/// at one of its limits.
pub fn mutate(seed: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        let length = random.below((bytes.len() - at).min(64) + 1);
        match random.below(7) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            1 if !bytes.is_empty() => bytes[at] = random.number() as u8,
            2 => bytes.truncate(at),
            3 => {
                let stretch = bytes[at..at + length].to_vec();
                bytes.splice(at..at, stretch);
            }
            4 => {
                bytes.drain(at..at + length);
            }
            5 => {
                let limits = [0u32, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];
                let word = limits[random.below(limits.len())].to_be_bytes();
                let end = (at + 4).min(bytes.len());
                bytes.splice(at..end, word);
            }
            _ => bytes.insert(at, random.number() as u8),
        }
    }
    bytes
}
