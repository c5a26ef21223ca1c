//! AES with a key of 256 bits (FIPS 197) in CBC mode (NIST SP 800-38A), encrypting only.
//!
//! The tables depend on data, so their time does; what is sealed here is the host's own and is
//! read by a process of the same host.

/// The expanded key: 15 round keys.
#[derive(Clone)]
pub struct Aes256([[u8; 16]; 15]);

/// Doubling in GF(2^8) with the polynomial of AES.
const fn double(byte: u8) -> u8 {
    (byte << 1) ^ (if byte & 0x80 != 0 { 0x1b } else { 0 })
}

/// The S-box: the inverse in GF(2^8), then an affine map. Powers of the generator 3 and of its
/// inverse 0xf6 run through all pairs of inverses.
const SBOX: [u8; 256] = {
    let mut table = [0u8; 256];
    let (mut p, mut q) = (1u8, 1u8);
    loop {
        p = p ^ double(p);
        q ^= q << 1;
        q ^= q << 2;
        q ^= q << 4;
        if q & 0x80 != 0 {
            q ^= 0x09;
        }
        let x = q ^ q.rotate_left(1) ^ q.rotate_left(2) ^ q.rotate_left(3) ^ q.rotate_left(4);
        table[p as usize] = x ^ 0x63;
        if p == 1 {
            break;
        }
    }
    table[0] = 0x63;
    table
};

fn substitute(byte: u8) -> u8 {
    SBOX[usize::from(byte)]
}

impl Aes256 {
    /// Expands a key.
    pub fn new(key: &[u8; 32]) -> Self {
        let mut words: Vec<[u8; 4]> = Vec::with_capacity(60);
        for chunk in key.chunks_exact(4) {
            words.push([chunk[0], chunk[1], chunk[2], chunk[3]]);
        }
        let mut constant = 1u8;
        for place in 8..60usize {
            let mut word = words[place - 1];
            if place % 8 == 0 {
                word = [word[1], word[2], word[3], word[0]].map(substitute);
                word[0] ^= constant;
                constant = double(constant);
            } else if place % 8 == 4 {
                word = word.map(substitute);
            }
            for (byte, before) in word.iter_mut().zip(words[place - 8]) {
                *byte ^= before;
            }
            words.push(word);
        }
        let mut rounds = [[0u8; 16]; 15];
        for (round, four) in rounds.iter_mut().zip(words.chunks_exact(4)) {
            for (byte, key) in round.iter_mut().zip(four.iter().flatten()) {
                *byte = *key;
            }
        }
        Self(rounds)
    }

    /// Encrypts one block.
    pub fn encrypt(&self, block: [u8; 16]) -> [u8; 16] {
        let mut state = block;
        add(&mut state, &self.0[0]);
        for round in &self.0[1..14] {
            state = shift_rows(state.map(substitute));
            mix_columns(&mut state);
            add(&mut state, round);
        }
        state = shift_rows(state.map(substitute));
        add(&mut state, &self.0[14]);
        state
    }
}

fn add(state: &mut [u8; 16], key: &[u8; 16]) {
    for (byte, key) in state.iter_mut().zip(key) {
        *byte ^= key;
    }
}

/// Row `r` of the state (every fourth byte from `r` on) moves `r` columns to the left.
fn shift_rows(state: [u8; 16]) -> [u8; 16] {
    let mut out = [0u8; 16];
    for (place, byte) in out.iter_mut().enumerate() {
        let (row, column) = (place % 4, place / 4);
        *byte = state[4 * ((column + row) % 4) + row];
    }
    out
}

fn mix_columns(state: &mut [u8; 16]) {
    for column in state.chunks_exact_mut(4) {
        let old = [column[0], column[1], column[2], column[3]];
        let all = old[0] ^ old[1] ^ old[2] ^ old[3];
        for (row, byte) in column.iter_mut().enumerate() {
            *byte = old[row] ^ all ^ double(old[row] ^ old[(row + 1) % 4]);
        }
    }
}

/// Encrypts a text of any length, padded as PKCS #7 says.
pub fn encrypt_cbc(aes: &Aes256, iv: &[u8; 16], text: &[u8]) -> Vec<u8> {
    let missing = 16 - text.len() % 16;
    let mut padded = text.to_vec();
    padded.extend(std::iter::repeat_n(missing as u8, missing));
    let mut before = *iv;
    let mut out = Vec::with_capacity(padded.len());
    for chunk in padded.chunks_exact(16) {
        for (byte, text) in before.iter_mut().zip(chunk) {
            *byte ^= text;
        }
        before = aes.encrypt(before);
        out.extend_from_slice(&before);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of FIPS 197, appendix C.3.
    #[test]
    fn the_standards_example() {
        let mut key = [0u8; 32];
        for (place, byte) in key.iter_mut().enumerate() {
            *byte = place as u8;
        }
        let mut block = [0u8; 16];
        for (place, byte) in block.iter_mut().enumerate() {
            *byte = (place * 17) as u8;
        }
        let sealed = Aes256::new(&key).encrypt(block);
        let expected = [
            0x8e, 0xa2, 0xb7, 0xca, 0x51, 0x67, 0x45, 0xbf, 0xea, 0xfc, 0x49, 0x90, 0x4b, 0x49,
            0x60, 0x89,
        ];
        assert_eq!(sealed, expected);
    }

    #[test]
    fn a_full_block_gets_one_of_padding() {
        let aes = Aes256::new(&[7; 32]);
        assert_eq!(encrypt_cbc(&aes, &[0; 16], &[1; 16]).len(), 32);
        assert_eq!(encrypt_cbc(&aes, &[0; 16], b"").len(), 16);
    }
}
