//! What the running image says of itself in `os-release(5)`.

/// The image's own file, on the verity root.
pub const FILE: &str = "/usr/lib/os-release";

/// The rollback epoch is there and is no number.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("BARTIZAN_EPOCH is no number")]
pub struct NoEpoch;

/// Reads the rollback epoch of the image; what is no image of ours has none.
///
/// # Errors
///
/// [`NoEpoch`] if it is no number, or there twice.
pub fn rollback_epoch(os_release: &str) -> Result<Option<u64>, NoEpoch> {
    let lines = os_release.lines();
    let mut values = lines.filter_map(|line| line.strip_prefix("BARTIZAN_EPOCH="));
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.parse().map(Some).map_err(|_| NoEpoch),
        (Some(_), Some(_)) => Err(NoEpoch),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_epoch_of_an_image_is_read_or_refused() {
        let read = |epoch: &str| rollback_epoch(&format!("ID=bartizan\n{epoch}VERSION_ID=1\n"));
        assert_eq!(read(""), Ok(None));
        assert_eq!(read("BARTIZAN_EPOCH=4\n"), Ok(Some(4)));
        for wrong in [
            "",
            "-1",
            "4a",
            "\"4\"",
            "18446744073709551616",
            "4\nBARTIZAN_EPOCH=5",
        ] {
            assert_eq!(
                read(&format!("BARTIZAN_EPOCH={wrong}\n")),
                Err(NoEpoch),
                "{wrong}"
            );
        }
    }
}
