//! What a KME answers: an HTTP response with a document of ETSI GS QKD 014 in it.

use bartizan_model::ids::SaeId;
use bartizan_qkd::document::{check_status, read_error, read_keys};
use bartizan_qkd::response::{Answer, BadHttp, Response, Stream};

/// The first byte is how many of the others come at once; behind them the KME says farewell.
pub(super) fn kme_reply(data: &[u8]) {
    let Some((cut, bytes)) = data.split_first() else {
        return;
    };
    let mut reply = bytes.to_vec();
    let whole = Response::default().advance(&mut reply, Stream::Ended);
    let mut in_parts = bytes.to_vec();
    let parts = advance(&mut in_parts, usize::from(*cut).max(1));
    let (Ok(Some(whole)), Ok(Some(parts))) = (whole, parts) else {
        return;
    };
    assert_eq!(
        (whole.status, body(&reply, &whole)),
        (parts.status, body(&in_parts, &parts)),
        "it does not matter how the bytes come"
    );
    let body = body(&reply, &whole);
    let keys = read_keys(&mut body.to_vec(), 3).unwrap_or_default();
    assert!(keys.len() <= 3);
    for key in keys.into_iter().filter_map(|(_, key)| key.ok()) {
        assert_eq!(key.len(), 32);
        assert!(key.expose().iter().any(|byte| *byte != 0));
    }
    if let Some(said) = read_error(&mut body.to_vec()) {
        assert!(said.as_str().split(' ').all(|word| word.len() <= 36));
    }
    let sae = SaeId::try_from("sae").expect("an SAE");
    // Either outcome is fine.
    let _ = check_status(&mut body.to_vec(), &sae, &sae);
}

fn advance(bytes: &mut [u8], cut: usize) -> Result<Option<Answer>, BadHttp> {
    let mut response = Response::default();
    let mut end = 0;
    while end < bytes.len() {
        end = end.saturating_add(cut).min(bytes.len());
        let stream = if end == bytes.len() {
            Stream::Ended
        } else {
            Stream::Open
        };
        if let Some(answer) = response.advance(&mut bytes[..end], stream)? {
            return Ok(Some(answer));
        }
    }
    Ok(None)
}

fn body<'a>(reply: &'a [u8], answer: &Answer) -> &'a [u8] {
    &reply[answer.body.clone()]
}
