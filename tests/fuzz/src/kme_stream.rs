//! What a KME answers in the two forms of ETSI GS QKD 004.

use bartizan_model::report::QkdRefusal;
use bartizan_qkd::stream::binary::Kind;
use bartizan_qkd::stream::{Said, StreamId, binary, json};

/// The first byte says what was asked.
pub(super) fn kme_stream(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else {
        return;
    };
    let asked = match kind % 3 {
        0 => Kind::Open,
        1 => Kind::Get(7),
        _ => Kind::Close,
    };
    check(binary::read(bytes, asked), asked);
    check(json::read(&mut bytes.to_vec(), asked), asked);
    // What is whole is not whole without its last byte.
    if let (Some((_, head)), Ok(Some(_))) = (bytes.split_last(), binary::read(bytes, asked)) {
        assert!(matches!(binary::read(head, asked), Ok(None)));
    }
}

fn check(said: Result<Option<Said>, QkdRefusal>, asked: Kind) {
    match said {
        Ok(Some(Said::Key(key, _))) => {
            assert_eq!(asked, Kind::Get(7));
            assert_eq!(key.len(), 32);
            assert!(key.expose().iter().any(|byte| *byte != 0));
        }
        Ok(Some(Said::Opened { stream, .. })) => {
            assert_eq!(asked, Kind::Open);
            assert_ne!(stream, StreamId([0; 16]));
        }
        Ok(Some(Said::Offered(_))) => assert_eq!(asked, Kind::Open),
        Ok(Some(Said::Closed)) => assert_eq!(asked, Kind::Close),
        Ok(Some(Said::Metadata(_))) => assert_eq!(asked, Kind::Get(7)),
        Ok(Some(Said::Refused(_)) | None) | Err(_) => {}
    }
}
