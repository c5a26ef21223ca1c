//! Bytes known from the specification and from the wire, bounds, and round trips.

use proptest::prelude::*;
use xdr::{Decode, Decoder, Encode, Encoder, Error, from_slice, to_vec};

fn check<T: Encode + Decode + PartialEq + std::fmt::Debug>(value: T, bytes: &[u8]) {
    assert_eq!(to_vec(&value).unwrap(), bytes, "writing {value:?}");
    assert_eq!(from_slice::<T>(bytes).unwrap(), value);
    assert!(bytes.len() >= T::MIN_SIZE);
    for cut in 0..bytes.len() {
        assert!(from_slice::<T>(&bytes[..cut]).is_err(), "{value:?} cut at {cut}");
    }
}

#[test]
fn known_bytes() {
    check(-2i32, &[0xff, 0xff, 0xff, 0xfe]);
    check(7u32, &[0, 0, 0, 7]);
    check(-1i64, &[0xff; 8]);
    check(1u64 << 40, &[0, 0, 1, 0, 0, 0, 0, 0]);
    check(true, &[0, 0, 0, 1]);
    check(1.5f64, &[0x3f, 0xf8, 0, 0, 0, 0, 0, 0]);
    check(-1i8, &[0xff; 4]);
    check(200u8, &[0, 0, 0, 200]);
    check([1u8, 2, 3, 4, 5], &[1, 2, 3, 4, 5, 0, 0, 0]);
    check(Some(3u32), &[0, 0, 0, 1, 0, 0, 0, 3]);
    check(None::<u32>, &[0, 0, 0, 0]);
    check((), &[]);
}

#[test]
fn strings() {
    let mut e = Encoder::append_to(vec![9]);
    e.string("hello", 5);
    e.opt_string(None, 5);
    e.strings(&["a".into()], 1, 1);
    let bytes = e.finish().unwrap();
    assert_eq!(bytes, b"\x09\0\0\0\x05hello\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\x01a\0\0\0");
    let mut d = Decoder::new(&bytes[1..]);
    assert_eq!(d.string(5).unwrap(), "hello");
    assert_eq!(d.opt_string(5).unwrap(), None);
    assert_eq!(d.strings(1, 1).unwrap(), ["a"]);
    assert_eq!(d.remaining(), 0);
}

#[test]
fn bad_strings() {
    let latin1 = b"\0\0\0\x04caf\xe9";
    assert_eq!(Decoder::new(latin1).string(9), Err(Error::NotUtf8 { at: 4 }));
    assert_eq!(Decoder::lossy(latin1).string(9).unwrap(), "caf\u{fffd}");
    assert_eq!(Decoder::lossy(b"\0\0\0\x03a\0b\0").string(9), Err(Error::Nul { at: 4 }));
    let mut e = Encoder::new();
    e.string("a\0b", 9);
    assert_eq!(e.finish(), Err(Error::Nul { at: 4 }));
}

#[test]
fn limits_come_before_allocation() {
    let huge = [0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4];
    assert_eq!(
        Decoder::new(&huge).opaque(100),
        Err(Error::TooLong { at: 0, len: 0xffff_ffff, max: 100 })
    );
    assert!(matches!(
        Decoder::new(&huge).array::<u64>(usize::MAX),
        Err(Error::Truncated { at: 0, .. })
    ));
    assert!(matches!(Decoder::new(&huge).opaque_fixed(usize::MAX), Err(Error::Truncated { .. })));
    let mut e = Encoder::new();
    e.array(&[1u32, 2, 3], 2);
    assert_eq!(e.finish(), Err(Error::TooLong { at: 0, len: 3, max: 2 }));
}

#[test]
fn flags_ranges_and_depth() {
    assert_eq!(from_slice::<bool>(&[0, 0, 0, 2]), Err(Error::BadFlag { at: 0, value: 2 }));
    assert_eq!(from_slice::<u16>(&[0, 1, 0, 0]), Err(Error::OutOfRange { at: 0, value: 65536 }));
    assert_eq!(from_slice::<u8>(&[0, 0, 1, 0]), Err(Error::OutOfRange { at: 0, value: 256 }));
    fn descend(d: &mut Decoder<'_>) -> xdr::Result<u32> {
        Ok(d.option(descend)?.map_or(0, |n| n + 1))
    }
    let ones = [0, 0, 0, 1].repeat(64);
    assert_eq!(descend(&mut Decoder::new(&ones)), Err(Error::TooDeep { at: 68 }));
}

#[test]
fn char_arrays_take_four_bytes_each() {
    let mut e = Encoder::new();
    e.chars(b"x\xff", 8);
    e.chars_fixed(b"ab");
    let bytes = e.finish().unwrap();
    assert_eq!(bytes, b"\0\0\0\x02\0\0\0x\xff\xff\xff\xff\0\0\0a\0\0\0b");
    let mut d = Decoder::new(&bytes);
    assert_eq!(d.chars(8).unwrap(), b"x\xff");
    assert_eq!(&d.chars_fixed::<2>().unwrap(), b"ab");
}

proptest! {
    #[test]
    fn round_trip(
        a in any::<i32>(), b in any::<u64>(), f in any::<f64>(), s in "[^\0]{0,40}",
        o in proptest::option::of(any::<u32>()),
        bytes in proptest::collection::vec(any::<u8>(), 0..40),
        list in proptest::collection::vec("[^\0]{0,9}", 0..9),
    ) {
        let mut e = Encoder::new();
        e.int(a);
        e.string(&s, 4096);
        e.opaque(&bytes, 40);
        e.chars(&bytes, 40);
        o.encode(&mut e);
        e.strings(&list, 9, 4096);
        e.double(f);
        e.uhyper(b);
        let out = e.finish().unwrap();
        prop_assert_eq!(out.len() % 4, 0);
        let mut d = Decoder::new(&out);
        prop_assert_eq!(d.int().unwrap(), a);
        prop_assert_eq!(d.string(4096).unwrap(), s);
        prop_assert_eq!(d.opaque(40).unwrap(), &bytes[..]);
        prop_assert_eq!(d.chars(40).unwrap(), bytes);
        prop_assert_eq!(Option::<u32>::decode(&mut d).unwrap(), o);
        prop_assert_eq!(d.strings(9, 4096).unwrap(), list);
        prop_assert_eq!(d.double().unwrap().to_bits(), f.to_bits());
        prop_assert_eq!(d.uhyper().unwrap(), b);
        prop_assert_eq!(d.remaining(), 0);
    }

    #[test]
    fn never_panics(data in proptest::collection::vec(any::<u8>(), 0..400)) {
        xdr::fuzzing::fuzz_one(&data);
    }
}
