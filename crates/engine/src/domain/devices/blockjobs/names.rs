//! How clients name images of a chain: by number (`vda[2]`) or by path.

use diag::{ErrorCode, ErrorDomain, VirError};
use model::domain::devices::disk::{Disk, DiskImage, StorageType};
use std::path::{Component, Path, PathBuf};

/// Where an image is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// In all of the chain.
    Top,
    /// Below the image with this number.
    Below(u32),
}

/// The path of an image, as errors tell it.
pub(super) fn path_of(image: &DiskImage<'_>) -> String {
    let source = image.source;
    let path = [&source.file, &source.dev, &source.dir, &source.name];
    path.into_iter().flatten().next().cloned().unwrap_or_default()
}

/// The number of the image that is called `name`; without a name: of the last.
///
/// # Errors
/// libvirt's: there is none.
pub(super) fn find(disk: &Disk, from: From, name: Option<&str>) -> Result<u32, VirError> {
    let target = &disk.target.dev;
    let images: Vec<_> = disk.images().collect();
    let start = match from {
        From::Top => 0,
        From::Below(upper) => {
            images.iter().position(|image| image.number == Some(upper)).map_or(0, |at| at + 1)
        }
    };
    let there = images.get(start..).unwrap_or_default();
    let Some(name) = name else {
        let last = there.last().and_then(|image| image.number);
        return last.ok_or_else(|| no_base(target));
    };
    if let Some((named, number)) = indexed(name) {
        if named != target {
            return Err(VirError::invalid_arg(format!(
                "requested target '{named}' does not match target '{target}'"
            )));
        }
        let found = there.iter().filter_map(|image| image.number).find(|n| Some(*n) == number);
        return found.ok_or_else(|| {
            let number = name.rsplit_once('[').map_or("", |(_, n)| n.trim_end_matches(']'));
            VirError::invalid_arg(format!(
                "could not find backing store index '{number}' in chain for '{target}'"
            ))
        });
    }
    let found = there.iter().enumerate().find(|(at, image)| {
        let above = (start + at).checked_sub(1).and_then(|above| images.get(above));
        path_of(image) == name || above.is_some_and(|above| is_beside(above, image, name))
    });
    found.and_then(|(_, image)| image.number).ok_or_else(|| {
        let upper = start.checked_sub(1).and_then(|upper| images.get(upper)).map(path_of);
        VirError::invalid_arg(match upper {
            Some(upper) => {
                format!("could not find image '{name}' beneath '{upper}' in chain for '{target}'")
            }
            None => format!("could not find image '{name}' in chain for '{target}'"),
        })
    })
}

/// `TARGET[NUMBER]`; the number is none where it is too great.
fn indexed(name: &str) -> Option<(&str, Option<u32>)> {
    let (target, number) = name.strip_suffix(']')?.rsplit_once('[')?;
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    (digits && !target.starts_with('/')).then(|| (target, number.parse().ok()))
}

/// Whether a relative name means `image` beside the one `above` it.
fn is_beside(above: &DiskImage<'_>, image: &DiskImage<'_>, name: &str) -> bool {
    let (above, path) = (path_of(above), path_of(image));
    let local = matches!(image.kind, StorageType::File | StorageType::Block);
    let folder = Path::new(&above).parent();
    local
        && Path::new(name).is_relative()
        && folder.is_some_and(|folder| tidy(&folder.join(name)) == tidy(Path::new(&path)))
}

fn tidy(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != Component::CurDir).collect()
}

/// The name of `base` as `upper` would have it, going from header to header: `names` are those that
/// the headers from `upper` down to above `base` say.
///
/// # Errors
/// libvirt's: one of them is not relative.
pub(super) fn relative(names: &[String]) -> Result<String, VirError> {
    let mut path = String::new();
    for name in names {
        let absolute = name.starts_with('/')
            || name.split_once(':').is_some_and(|(scheme, _)| !scheme.contains('/'));
        if name.is_empty() || absolute {
            return Err(VirError::new(
                ErrorCode::OPERATION_INVALID,
                "can't keep relative backing relationship",
            ));
        }
        path = match path.rsplit_once('/') {
            Some((folder, _)) => format!("{folder}/{name}"),
            None => name.clone(),
        };
    }
    Ok(path)
}

/// A chain has nothing below to merge into; libvirt's reader of images says so.
pub(super) fn no_base(target: &str) -> VirError {
    VirError::invalid_arg(format!("could not find base image in chain for '{target}'"))
        .from_domain(ErrorDomain::STORAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_images() {
        let mut disk = super::super::chain::tests::chained();
        if let Some(source) = &mut disk.source {
            source.file = Some("/x/a".to_owned());
        }
        let below = disk.backing_store.as_deref_mut().and_then(|layer| layer.source.as_mut());
        if let Some(source) = below {
            source.file = Some("/x/sub/b".to_owned());
        }
        let index =
            |n: &str| format!("could not find backing store index '{n}' in chain for 'vda'");
        let top = From::Top;
        for (from, name, expected) in [
            (top, None, Ok(4)),
            (From::Below(4), None, Err("could not find base image in chain for 'vda'".into())),
            (top, Some("vda[1]"), Ok(1)),
            (From::Below(1), Some("vda[1]"), Err(index("1"))),
            (From::Below(1), Some("vda[99999999999]"), Err(index("99999999999"))),
            (top, Some("vdb[1]"), Err("requested target 'vdb' does not match target 'vda'".into())),
            (top, Some("/c"), Ok(3)),
            (From::Below(1), Some("sub/b"), Ok(2)),
            (From::Below(1), Some("./sub/b"), Ok(2)),
            (top, Some("/y"), Err("could not find image '/y' in chain for 'vda'".into())),
            (top, Some("a"), Err("could not find image 'a' in chain for 'vda'".into())),
            (
                From::Below(2),
                Some("/x/a"),
                Err("could not find image '/x/a' beneath '/x/sub/b' in chain for 'vda'".into()),
            ),
        ] {
            let found = find(&disk, from, name).map_err(|error| error.detail);
            assert_eq!(found, expected, "{from:?} {name:?}");
        }
    }

    #[test]
    fn relative_names() {
        let refused = || Err("can't keep relative backing relationship".to_owned());
        for (names, expected) in [
            (vec!["b"], Ok("b".to_owned())),
            (vec!["sub/b", "c"], Ok("sub/c".to_owned())),
            (vec!["sub/b", "../c"], Ok("sub/../c".to_owned())),
            (vec!["b", "/c"], refused()),
            (vec!["nbd://h/x"], refused()),
            (vec![""], refused()),
        ] {
            let names: Vec<_> = names.into_iter().map(str::to_owned).collect();
            assert_eq!(relative(&names).map_err(|error| error.detail), expected, "{names:?}");
        }
    }
}
