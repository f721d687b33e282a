//! What a KME answers: an HTTP response with a document of ETSI GS QKD 014 in it.

use bartizan_model::ids::{KeyId, SaeId};
use bartizan_qkd::document::{check_status, read_key};
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
    let asked = KeyId::try_from("asked").expect("a key id");
    let body = body(&reply, &whole);
    if let Ok((id, key)) = read_key(&mut body.to_vec(), Some(&asked)) {
        assert_eq!(id, asked);
        assert_eq!(key.len(), 32);
        assert!(key.expose().iter().any(|byte| *byte != 0));
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
