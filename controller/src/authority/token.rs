//! The CA's key in a PKCS#11 token: signatures are asked for, the key never leaves.

use core::fmt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, SHA384, digest};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use der::asn1::{OctetString, UintRef};
use der::{Decode as _, Encode as _, Sequence};

use super::Curve;

/// A key of a token, and a session with it.
pub struct TokenKey {
    session: Mutex<Session>,
    private: ObjectHandle,
    public: ObjectHandle,
}

/// The token does not do what is asked.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The module or the token refuses.
    #[error("cannot {act}")]
    Module {
        /// What.
        act: &'static str,
        /// Why.
        #[source]
        cause: cryptoki::error::Error,
    },
    /// No token has this label, or it holds not exactly one such key.
    #[error("there is not exactly one {0}")]
    NotOne(&'static str),
    /// What it says of a key or a signature has another form than PKCS#11 demands.
    #[error("the token's answer has a wrong form")]
    Form,
}

impl TokenKey {
    /// Opens the token with this label by its PIN, and finds the key pair with the other.
    ///
    /// # Errors
    ///
    /// [`TokenError`].
    pub fn open(module: &Path, token: &str, key: &str, pin: &str) -> Result<Self, TokenError> {
        let module = Pkcs11::new(module).map_err(cannot("load the PKCS#11 module"))?;
        let locking = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
        module
            .initialize(locking)
            .map_err(cannot("initialize the PKCS#11 module"))?;
        let slots = module
            .get_slots_with_token()
            .map_err(cannot("list the tokens"))?;
        let mut found = Vec::new();
        for slot in slots {
            let info = module.get_token_info(slot);
            if info.map_err(cannot("read a token's label"))?.label() == token {
                found.push(slot);
            }
        }
        let [slot] = found.as_slice() else {
            return Err(TokenError::NotOne("token with this label"));
        };
        let session = module
            .open_ro_session(*slot)
            .map_err(cannot("open a session"))?;
        let pin = AuthPin::new(pin.to_owned().into());
        session
            .login(UserType::User, Some(&pin))
            .map_err(cannot("log in to the token"))?;
        Ok(Self {
            private: one(&session, ObjectClass::PRIVATE_KEY, key, "private key")?,
            public: one(&session, ObjectClass::PUBLIC_KEY, key, "public key")?,
            session: Mutex::new(session),
        })
    }

    /// The point, uncompressed.
    ///
    /// # Errors
    ///
    /// [`TokenError`].
    pub fn public(&self) -> Result<Vec<u8>, TokenError> {
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let attributes = session
            .get_attributes(self.public, &[AttributeType::EcPoint])
            .map_err(cannot("read the CA's public key"))?;
        let Some(Attribute::EcPoint(point)) = attributes.into_iter().next() else {
            return Err(TokenError::Form);
        };
        // PKCS#11, 6.3.3: a DER octet string.
        let point = OctetString::from_der(&point).map_err(|_| TokenError::Form)?;
        Ok(point.as_bytes().to_vec())
    }

    /// Signs a message; DER `Ecdsa-Sig-Value`.
    ///
    /// # Errors
    ///
    /// [`TokenError`].
    pub fn sign(&self, curve: Curve, message: &[u8]) -> Result<Vec<u8>, TokenError> {
        let hash = match curve {
            Curve::P256 => digest(&SHA256, message),
            Curve::P384 => digest(&SHA384, message),
        };
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let signature = session
            .sign(&Mechanism::Ecdsa, self.private, hash.as_ref())
            .map_err(cannot("sign with the CA's key"))?;
        // PKCS#11, 6.3.1: r and s, each as long as the order.
        let half = signature.len() / 2;
        let (r, s) = signature.split_at_checked(half).ok_or(TokenError::Form)?;
        let value = |bytes| UintRef::new(bytes).map_err(|_| TokenError::Form);
        let (r, s) = (value(r)?, value(s)?);
        SignatureValue { r, s }
            .to_der()
            .map_err(|_| TokenError::Form)
    }
}

/// RFC 3279, 2.2.3.
#[derive(Sequence)]
struct SignatureValue<'a> {
    r: UintRef<'a>,
    s: UintRef<'a>,
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey")
    }
}

fn one(
    session: &Session,
    class: ObjectClass,
    label: &str,
    what: &'static str,
) -> Result<ObjectHandle, TokenError> {
    let template = [
        Attribute::Class(class),
        Attribute::Label(label.as_bytes().to_vec()),
    ];
    let found = session
        .find_objects(&template)
        .map_err(cannot("look for the CA's key"))?;
    let [object] = found.as_slice() else {
        return Err(TokenError::NotOne(what));
    };
    Ok(*object)
}

fn cannot(act: &'static str) -> impl FnOnce(cryptoki::error::Error) -> TokenError {
    move |cause| TokenError::Module { act, cause }
}
