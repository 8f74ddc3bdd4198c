//! Reading a request's body: bounded in size, in time, and in what all bodies together may hold.

use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::timeout;

use super::door::Door;
use super::reply::Reply;
use super::settings::Limits;

/// The bytes of a body, or the reply that refuses it. The declared length is looked at before anything is read, so
/// that a caller who asks first (`Expect: 100-continue`) is never told to go on.
pub(super) async fn read_body(door: &Door, limits: &Limits, body: Incoming) -> Result<Vec<u8>, Reply> {
    if body.size_hint().lower() > limits.body_bytes as u64 {
        return Err(Reply::body_too_large(limits.body_bytes));
    }
    timeout(limits.body_time, collect(door, limits.body_bytes, body)).await.unwrap_or_else(|_| Err(Reply::body_too_slow()))
}

async fn collect(door: &Door, limit: usize, mut body: Incoming) -> Result<Vec<u8>, Reply> {
    let mut bytes = Vec::new();
    let mut share = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Reply::bad_request("the request's body broke off").closing())?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > limit {
            return Err(Reply::body_too_large(limit));
        }
        let more =
            u32::try_from(data.len()).ok().and_then(|length| door.body_memory.try_acquire_many(length).ok()).ok_or_else(Reply::too_busy)?;
        match &mut share {
            None => share = Some(more),
            Some(share) => share.merge(more),
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}
