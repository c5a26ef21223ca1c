//! Headers and texts there and back, and every fault in libvirt's words.

use super::*;

const XML: &str = "<domain type='qemu'>\n  <name>a</name>\n</domain>\n";
const COOKIE: &str = "<cookie>\n  <slirpHelper/>\n</cookie>\n";

fn image() -> Vec<u8> {
    let texts = Texts { xml: XML, cookie: Some(COOKIE) };
    let (header, bytes) = compose(texts, true, SaveFormat::Zstd).expect("short");
    [&header.bytes(true)[..], &bytes].concat()
}

fn with(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut image = image();
    image[at..at + bytes.len()].copy_from_slice(bytes);
    image
}

/// The fault of the header or of the texts behind it.
fn fault(image: &[u8]) -> String {
    let result = SaveHeader::parse(image)
        .and_then(|header| header.texts(image.get(HEADER_LEN..).unwrap_or_default()).map(|_| ()));
    result.expect_err("a fault").to_string()
}

#[test]
fn an_image_is_read_as_it_was_written() {
    let image = image();
    assert_eq!(&image[..20], b"LibvirtQemudSave\x02\0\0\0");
    let header = SaveHeader::parse(&image).expect("our own");
    assert!(header.running && header.format == SaveFormat::Zstd);
    assert_eq!(header.memory_offset(), image.len() as u64);
    let texts = header.texts(&image[HEADER_LEN..]).expect("our own");
    assert_eq!(texts, Texts { xml: XML, cookie: Some(COOKIE) });
    assert_eq!(SaveCookie::parse(COOKIE).expect("a cookie").format(), COOKIE);
}

#[test]
fn faults_are_said_in_libvirts_words() {
    for (image, expected) in [
        (Vec::new(), "failed to read qemu header"),
        (image()[..91].to_vec(), "failed to read qemu header"),
        (vec![b'x'; 500], "image magic is incorrect"),
        (with(0, b"LibvirtQemudPart"), "save image is incomplete"),
        (with(16, &99_u32.to_ne_bytes()), "image version is not supported (1660944384 > 2)"),
        (with(20, &[0; 4]), "invalid header data length: 0"),
        (with(20, &u32::MAX.to_ne_bytes()), "failed to read cookie"),
        (with(28, &77_u32.to_ne_bytes()), "unsupported save image format: 77"),
        (with(32, &u32::MAX.to_ne_bytes()), "failed to read domain XML"),
        (image()[..100].to_vec(), "failed to read domain XML"),
        (image()[..160].to_vec(), "failed to read cookie"),
    ] {
        assert_eq!(fault(&image), expected);
    }
}

#[test]
fn an_image_of_the_other_byte_order_is_read() {
    let mut image = image();
    for word in image[16..HEADER_LEN].chunks_exact_mut(4) {
        word.reverse();
    }
    assert_eq!(SaveHeader::parse(&image).expect("swapped").format, SaveFormat::Zstd);
}

#[test]
fn only_what_holds_nothing_of_a_guest_is_worthless() {
    let worthless = |image: &[u8]| SaveHeader::parse(image).expect_err("bad").is_worthless();
    assert!(worthless(b"") && worthless(&[b'x'; 92]) && worthless(&with(8, b"emudPart")));
    assert!(!worthless(&with(16, &9_u32.to_ne_bytes())));
    assert!(!worthless(&with(28, &9_u32.to_ne_bytes())));
}

#[test]
fn other_texts_stay_in_the_place_of_the_old() {
    let image = image();
    let header = SaveHeader::parse(&image).expect("our own");
    let longer = "x".repeat(60 << 10);
    let texts = Texts { xml: &longer, cookie: None };
    let (changed, bytes) = replace(header, texts, false).expect("there is room");
    assert_eq!((changed.memory_offset(), changed.running), (header.memory_offset(), false));
    assert_eq!(changed.texts(&bytes), Ok(texts));
    let too_long = "x".repeat(70 << 10);
    let texts = Texts { xml: &too_long, cookie: None };
    assert_eq!(replace(header, texts, true), Err(ImageFault::NoRoom));
}

#[test]
fn formats_have_their_names() {
    for format in SaveFormat::ALL {
        assert_eq!(SaveFormat::parse(format.as_str()), Some(format));
    }
    assert_eq!(SaveFormat::parse("lz4"), None);
}
