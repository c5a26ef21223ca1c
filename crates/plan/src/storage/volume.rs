//! Making volumes with qemu-img.

use diag::VirError;

use crate::Command;

pub use super::image::Image;

/// How a volume is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VolumeOptions {
    /// Its tables are written beforehand.
    pub prealloc_metadata: bool,
}

/// The commands that make a volume, empty or with the content of `source`. With encryption on either
/// side there are two: an empty image is made, then filled.
///
/// # Errors
/// The volume cannot be made this way; libvirt's code and words.
pub fn create_volume(
    image: &Image<'_>,
    source: Option<&Image<'_>>,
    options: VolumeOptions,
) -> Result<Vec<Command>, VirError> {
    check(image, source, options)?;
    let Some(source) = source else {
        return Ok(vec![create(image, options, true)?]);
    };
    if image.is_luks() || source.is_luks() {
        return Ok(vec![create(image, options, false)?, fill(image, source)]);
    }
    let mut command =
        Command::new("qemu-img").args(["convert", "-f", source.format(), "-O", image.format()]);
    command = with_options(command, &create_options(image, options, None)?);
    Ok(vec![command.arg(source.path()).arg(image.path())])
}

fn check(
    image: &Image<'_>,
    source: Option<&Image<'_>>,
    options: VolumeOptions,
) -> Result<(), VirError> {
    let backing = backing_path(image);
    if options.prealloc_metadata && image.format() != "qcow2" {
        return Err(VirError::config("metadata preallocation only available with qcow2"));
    }
    if options.prealloc_metadata && backing.is_some() {
        return Err(VirError::config("metadata preallocation conflicts with backing store"));
    }
    if backing.is_some() && image.format() == "raw" {
        return Err(VirError::config("cannot set backing store for raw volume"));
    }
    if let (Some(own), Some(other)) = (backing, source.and_then(backing_path))
        && own != other
    {
        return Err(VirError::internal("a different backing store cannot be specified."));
    }
    image.check_encryption()
}

fn backing_path<'a>(image: &Image<'a>) -> Option<&'a str> {
    image.volume.backing.as_ref()?.path.as_deref()
}

/// The command for an empty image, an overlay where `overlay` is set and the volume has a backing
/// store.
fn create(image: &Image<'_>, options: VolumeOptions, overlay: bool) -> Result<Command, VirError> {
    let mut command = Command::new("qemu-img").args(["create", "-f", image.driver()]);
    let backing = backing_path(image).filter(|_| overlay);
    let mut backing_format = None;
    if let Some(path) = backing {
        command = command.arg("-b").arg(path);
        let format = image.volume.backing.as_ref().and_then(|backing| backing.format.as_deref());
        backing_format = Some(format.unwrap_or("raw"));
    }
    if let Some(object) = image.secret_object() {
        command = command.arg("--object").arg(object);
    }
    command = with_options(command, &create_options(image, options, backing_format)?);
    command = command.arg(image.path());
    // An overlay without a size of its own gets that of its backing store.
    if backing.is_some() && image.volume.capacity == 0 {
        return Ok(command);
    }
    Ok(command.arg(format!("{}K", image.volume.capacity.div_ceil(1024))))
}

/// The command that copies one image into another that is there.
fn fill(image: &Image<'_>, source: &Image<'_>) -> Command {
    let mut command =
        Command::new("qemu-img").args(["convert", "--image-opts", "-n", "--target-image-opts"]);
    for object in [image.secret_object(), source.secret_object()].into_iter().flatten() {
        command = command.arg("--object").arg(object);
    }
    command.arg(source.image_options()).arg(image.image_options())
}

fn with_options(command: Command, options: &[String]) -> Command {
    if options.is_empty() { command } else { command.arg("-o").arg(options.join(",")) }
}

fn create_options(
    image: &Image<'_>,
    options: VolumeOptions,
    backing_format: Option<&str>,
) -> Result<Vec<String>, VirError> {
    let target = &image.volume.target;
    let mut list = Vec::new();
    if let Some(format) = backing_format {
        list.push(format!("backing_fmt={format}"));
    }
    list.extend(image.encryption_options());
    if options.prealloc_metadata {
        // What shall take all its space is given all its space.
        let sparse = image.volume.capacity > image.volume.allocation;
        list.push(format!("preallocation={}", if sparse { "metadata" } else { "falloc" }));
    }
    if target.nocow {
        list.push("nocow=on".to_owned());
    }
    if image.format() == "qcow2" {
        let compat = target.compat.as_deref().unwrap_or("1.1");
        list.push(format!("compat={compat}"));
        if let Some(size) = target.cluster_size {
            list.push(format!("cluster_size={size}"));
        }
        for feature in target.features.iter().flatten() {
            match *feature {
                "lazy_refcounts" if compat == "0.10" => {
                    let message = "lazy_refcounts not supported with compat level 0.10";
                    return Err(VirError::config(message));
                }
                "lazy_refcounts" => list.push("lazy_refcounts".to_owned()),
                "extended_l2" => list.push("extended_l2=on".to_owned()),
                _ => {}
            }
        }
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use diag::ErrorCode;
    use model::storage::{Parsing, PoolType, Volume};

    fn volume(name: &str, inner: &str) -> Volume {
        let text = format!("<volume><name>{name}</name><allocation>0</allocation>{inner}</volume>");
        let options = Parsing { capacity_optional: true };
        let parsed = Volume::parse(&text, PoolType::Dir, options);
        parsed.value.unwrap_or_else(|| panic!("{text}: {:?}", parsed.diagnostics))
    }

    fn target(name: &str, inner: &str, after: &str) -> Volume {
        let inner =
            format!("<capacity>1025</capacity><target><path>/{name}</path>{inner}</target>{after}");
        volume(name, &inner)
    }

    fn run(
        image: &Volume,
        source: Option<&Volume>,
        prealloc_metadata: bool,
    ) -> Result<String, VirError> {
        let image = Image { volume: image, secret_file: Some("/s") };
        let source = source.map(|volume| Image { volume, secret_file: Some("/i") });
        let commands = create_volume(&image, source.as_ref(), VolumeOptions { prealloc_metadata })?;
        let lines: Vec<String> = commands.iter().map(|c| c.argv().join(" ")).collect();
        Ok(lines.join("\n").replace("qemu-img ", ""))
    }

    const BACKING: &str = "<backingStore><path>/b</path><format type='raw'/></backingStore>";
    const LUKS: &str = "<encryption format='luks'><secret type='passphrase' usage='u'/>\
                        <cipher name='aes' size='256'/><ivgen name='essiv' hash='sha1'/></encryption>";

    #[test]
    fn empty_images() {
        for (inner, after, expected) in [
            ("", "", "create -f raw /a 2K"),
            ("<format type='qed'/><nocow/>", "", "create -f qed -o nocow=on /a 2K"),
            (
                "<format type='qcow2'/><nocow/><clusterSize unit='KiB'>128</clusterSize>\
                 <features><extended_l2/><lazy_refcounts/></features>",
                BACKING,
                "create -f qcow2 -b /b -o backing_fmt=raw,nocow=on,compat=1.1,cluster_size=131072,\
                 lazy_refcounts,extended_l2=on /a 2K",
            ),
            (
                &format!("<format type='qcow2'/>{LUKS}"),
                "",
                "create -f qcow2 --object secret,id=a_encrypt0,file=/s -o encrypt.format=luks,\
                 encrypt.key-secret=a_encrypt0,encrypt.cipher-alg=aes-256,\
                 encrypt.ivgen-alg=essiv,encrypt.ivgen-hash-alg=sha1,compat=1.1 /a 2K",
            ),
            (
                LUKS,
                "",
                "create -f luks --object secret,id=a_encrypt0,file=/s -o key-secret=a_encrypt0,\
                 cipher-alg=aes-256,ivgen-alg=essiv,ivgen-hash-alg=sha1 /a 2K",
            ),
        ] {
            assert_eq!(run(&target("a", inner, after), None, false).unwrap(), expected);
        }
        let bare = volume(
            "a",
            &format!("<target><path>/a</path><format type='qcow2'/></target>{BACKING}"),
        );
        assert_eq!(
            run(&bare, None, false).unwrap(),
            "create -f qcow2 -b /b -o backing_fmt=raw,compat=1.1 /a"
        );
    }

    #[test]
    fn copies() {
        let qcow2 = |name| target(name, "<format type='qcow2'/>", BACKING);
        let plain = target("c", "", "");
        assert_eq!(
            run(&qcow2("a"), Some(&plain), false).unwrap(),
            "convert -f raw -O qcow2 -o compat=1.1 /c /a"
        );
        assert_eq!(run(&plain, Some(&qcow2("d")), false).unwrap(), "convert -f qcow2 -O raw /d /c");
        let locked = target("a,b", LUKS, "");
        assert_eq!(
            run(&plain, Some(&locked), false).unwrap(),
            "create -f raw /c 2K\n\
             convert --image-opts -n --target-image-opts \
             --object secret,id=a,,b_encrypt0,file=/i \
             driver=luks,file.filename=/a,,b,key-secret=a,,b_encrypt0 driver=raw,file.filename=/c"
        );
    }

    #[test]
    fn refusals_have_libvirts_codes_and_words() {
        let unsupported = ErrorCode::CONFIG_UNSUPPORTED;
        let luks = |kind: &str| LUKS.replace("luks'", &format!("{kind}'"));
        for (inner, after, prealloc, code, words) in [
            ("", "", true, unsupported, "metadata preallocation only available with qcow2"),
            (
                "<format type='qcow2'/>",
                BACKING,
                true,
                unsupported,
                "metadata preallocation conflicts with backing store",
            ),
            ("", BACKING, false, unsupported, "cannot set backing store for raw volume"),
            (
                &luks("qcow"),
                "",
                false,
                ErrorCode::INTERNAL_ERROR,
                "Only luks encryption is supported for raw files",
            ),
            (
                &format!("<format type='vmdk'/>{LUKS}"),
                "",
                false,
                unsupported,
                "volume encryption unsupported with format vmdk",
            ),
            (
                &format!("<format type='qcow2'/>{}", luks("luks2")),
                "",
                false,
                unsupported,
                "unsupported volume encryption format 3",
            ),
            (
                "<format type='qcow2'/><compat>0.10</compat><features><lazy_refcounts/></features>",
                "",
                false,
                unsupported,
                "lazy_refcounts not supported with compat level 0.10",
            ),
        ] {
            let error = run(&target("a", inner, after), None, prealloc).unwrap_err();
            assert_eq!((error.code, error.detail.as_str()), (code, words));
        }
    }
}
