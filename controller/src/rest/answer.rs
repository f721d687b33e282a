//! One request and its answer.

use core::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes as Body, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Request, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::routes::{Act, Found, ROUTES, decoded, find};
use crate::desk::{Desk, DeviceAnswer, DeviceOrder, OrderError};
use crate::device::{Actor, Bytes, NewDevice, Repin, Serial, Site};
use crate::metrics;
use crate::serve::chain;
use crate::status::Status;
use crate::store::{DeviceError, StoreError};

/// The most bytes of a request's body: a voucher, or a site with its certificates.
const BODY_MAX: usize = 512 * 1024;

/// How long a body may take.
const BODY_LIMIT: Duration = Duration::from_secs(30);

const JSON: &str = "application/json";

/// RFC 8366, 8.
const VOUCHER: &str = "application/voucher-cms+json";

/// Why a request is not answered as was hoped (RFC 9457).
struct Problem {
    status: StatusCode,
    detail: String,
}

#[derive(Serialize)]
struct ProblemDocument<'a> {
    status: u16,
    detail: &'a str,
}

/// `{"pins": "keep"}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Approval {
    pins: Repin,
}

pub(super) async fn answer(
    desk: &Desk,
    operator: &Actor,
    request: Request<Incoming>,
) -> Response<Full<Body>> {
    match carry_out(desk, operator, request).await {
        Ok(response) => response,
        Err(problem) => problem.response(),
    }
}

/// The answer to one question too many.
pub(super) fn too_many() -> Response<Full<Body>> {
    let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many requests");
    let mut response = problem.response();
    let headers = response.headers_mut();
    headers.insert(RETRY_AFTER, HeaderValue::from_static("10"));
    response
}

async fn carry_out(
    desk: &Desk,
    operator: &Actor,
    request: Request<Incoming>,
) -> Result<Response<Full<Body>>, Problem> {
    let path = request.uri().path().to_owned();
    let (act, serial) = match find(request.method().as_str(), &path) {
        Found::Act(act, serial) => (act, serial),
        Found::OtherMethod => return Ok(other_method(&path)),
        Found::Nothing => return Err(Problem::nothing()),
    };
    let about = || serial.clone().ok_or_else(Problem::nothing);
    let order = match act {
        Act::Document => {
            let document = Body::from_static(include_bytes!("openapi.json"));
            return Ok(response(StatusCode::OK, JSON, document));
        }
        Act::Status => {
            let status = Status::of(&desk.fleet());
            return as_json(StatusCode::OK, &status);
        }
        Act::Metrics => {
            let text = metrics::text(&desk.fleet());
            return Ok(response(StatusCode::OK, metrics::CONTENT_TYPE, text.into()));
        }
        Act::Audit => {
            let audited = desk.store.audited().await;
            let audited = audited.map_err(|error| Problem::of_store(&error))?;
            return as_json(StatusCode::OK, &audited);
        }
        Act::List => DeviceOrder::List {
            after: after(request.uri().query())?,
        },
        Act::Add => DeviceOrder::Add {
            device: json::<NewDevice>(request).await?,
        },
        Act::Show => DeviceOrder::Show { serial: about()? },
        Act::Site => DeviceOrder::Place {
            serial: about()?,
            site: json::<Site>(request).await?,
        },
        Act::Approve => DeviceOrder::Approve {
            serial: about()?,
            pins: json::<Approval>(request).await?.pins,
        },
        Act::Revoke => DeviceOrder::Revoke { serial: about()? },
        Act::Release => DeviceOrder::Release { serial: about()? },
        Act::Retire => DeviceOrder::Retire { serial: about()? },
        Act::Attest => DeviceOrder::Attest {
            serial: about()?,
            wait: None,
        },
        Act::Voucher => DeviceOrder::Voucher {
            voucher: Bytes(body(request, VOUCHER).await?),
        },
        Act::Transfer => DeviceOrder::Transfer {
            voucher: Bytes(body(request, VOUCHER).await?),
        },
    };
    let status = if act == Act::Add {
        StatusCode::CREATED
    } else if act == Act::Attest {
        // It is asked for; the verdict comes when the device does.
        StatusCode::ACCEPTED
    } else {
        StatusCode::OK
    };
    match desk.order(order, operator).await {
        Ok(DeviceAnswer::Devices(devices)) => as_json(status, &devices),
        Ok(DeviceAnswer::Device(device)) => as_json(status, &device),
        Err(error) => Err(Problem::of_order(&error)),
    }
}

/// `after=SERIAL`, and nothing else.
fn after(query: Option<&str>) -> Result<Option<Serial>, Problem> {
    let Some(query) = query else {
        return Ok(None);
    };
    let serial = query.strip_prefix("after=").and_then(decoded);
    let serial = serial.and_then(|serial| Serial::try_from(serial).ok());
    let wrong = || Problem::new(StatusCode::BAD_REQUEST, "the query is after=SERIAL");
    serial.map(Some).ok_or_else(wrong)
}

async fn json<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Problem> {
    let body = body(request, JSON).await?;
    serde_json::from_slice(&body).map_err(|error| Problem {
        status: StatusCode::UNPROCESSABLE_ENTITY,
        detail: error.to_string(),
    })
}

async fn body(request: Request<Incoming>, kind: &'static str) -> Result<Vec<u8>, Problem> {
    let given = request.headers().get(CONTENT_TYPE);
    if given.is_none_or(|given| given != kind) {
        return Err(Problem {
            status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
            detail: format!("the body is {kind}"),
        });
    }
    let body = Limited::new(request.into_body(), BODY_MAX).collect();
    match timeout(BODY_LIMIT, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes().to_vec()),
        Ok(Err(_)) => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body is too long, or broke off",
        )),
        Err(_late) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "the body is late",
        )),
    }
}

fn other_method(path: &str) -> Response<Full<Body>> {
    let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this cannot be done to it");
    let mut response = problem.response();
    let here = |method: &str| matches!(find(method, path), Found::Act(..));
    let mut methods: Vec<_> = ROUTES.iter().map(|route| route.method).collect();
    methods.sort_unstable();
    methods.dedup();
    methods.retain(|method| here(method));
    if let Ok(value) = HeaderValue::from_str(&methods.join(", ")) {
        response.headers_mut().insert(ALLOW, value);
    }
    response
}

fn as_json(status: StatusCode, value: &impl Serialize) -> Result<Response<Full<Body>>, Problem> {
    match serde_json::to_vec(value) {
        Ok(text) => Ok(response(status, JSON, text.into())),
        Err(error) => Err(Problem {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            detail: error.to_string(),
        }),
    }
}

fn response(status: StatusCode, kind: &'static str, body: Body) -> Response<Full<Body>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl Problem {
    fn new(status: StatusCode, detail: &str) -> Self {
        Self {
            status,
            detail: detail.to_owned(),
        }
    }

    fn nothing() -> Self {
        Self::new(StatusCode::NOT_FOUND, "no such resource")
    }

    fn of_order(error: &OrderError) -> Self {
        let status = match error {
            OrderError::Device(DeviceError::Unknown(_)) => StatusCode::NOT_FOUND,
            OrderError::Device(DeviceError::Store(error)) => return Self::of_store(error),
            OrderError::Device(_) => StatusCode::CONFLICT,
            OrderError::Voucher(_) => StatusCode::UNPROCESSABLE_ENTITY,
            OrderError::NotAttested(_) => StatusCode::GATEWAY_TIMEOUT,
        };
        Self {
            status,
            detail: chain(error),
        }
    }

    fn of_store(error: &StoreError) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            detail: chain(error),
        }
    }

    fn response(&self) -> Response<Full<Body>> {
        let document = ProblemDocument {
            status: self.status.as_u16(),
            detail: &self.detail,
        };
        let text = serde_json::to_vec(&document).unwrap_or_default();
        response(self.status, "application/problem+json", text.into())
    }
}
