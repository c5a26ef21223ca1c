//! XDR's own types as Rust's.

use crate::{Decode, Decoder, Encode, Encoder, Result};

macro_rules! scalar {
    ($($t:ty, $method:ident, $size:literal;)*) => {$(
        impl Encode for $t {
            fn encode(&self, e: &mut Encoder) {
                e.$method(*self);
            }
        }
        impl Decode for $t {
            const MIN_SIZE: usize = $size;
            fn decode(d: &mut Decoder<'_>) -> Result<Self> {
                d.$method()
            }
        }
    )*};
}

scalar! {
    i32, int, 4;
    u32, uint, 4;
    i64, hyper, 8;
    u64, uhyper, 8;
    bool, bool, 4;
    f32, float, 4;
    f64, double, 8;
    i8, char, 4;
    u8, uchar, 4;
    u16, ushort, 4;
}

/// Nothing: a procedure without arguments or result.
impl Encode for () {
    fn encode(&self, _: &mut Encoder) {}
}

impl Decode for () {
    const MIN_SIZE: usize = 0;
    fn decode(_: &mut Decoder<'_>) -> Result<Self> {
        Ok(())
    }
}

/// Fixed opaque: a UUID, for example.
impl<const N: usize> Encode for [u8; N] {
    fn encode(&self, e: &mut Encoder) {
        e.opaque_fixed(self);
    }
}

impl<const N: usize> Decode for [u8; N] {
    const MIN_SIZE: usize = N + crate::padding(N);
    fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        let mut out = [0; N];
        out.copy_from_slice(d.opaque_fixed(N)?);
        Ok(out)
    }
}

impl<T: Encode> Encode for Option<T> {
    fn encode(&self, e: &mut Encoder) {
        e.option(self.as_ref(), |e, v| v.encode(e));
    }
}

impl<T: Decode> Decode for Option<T> {
    const MIN_SIZE: usize = 4;
    fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        d.option(T::decode)
    }
}

impl<T: Encode + ?Sized> Encode for &T {
    fn encode(&self, e: &mut Encoder) {
        (**self).encode(e);
    }
}
