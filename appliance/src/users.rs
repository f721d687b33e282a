//! Users by their numbers.

use std::collections::BTreeMap;

use bartizan_model::message::Role;
use bartizan_process::{Exit, Fault};

use crate::roles::ROLES;

/// Which role a process with this uid plays.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Users(BTreeMap<u32, Role>);

impl Users {
    /// Finds the roles' users in the text of a passwd(5) file.
    ///
    /// # Errors
    ///
    /// [`Fault`] with [`Exit::NoPerm`] if one is missing, is root, or shares its number.
    pub fn from_passwd(passwd: &str) -> Result<Self, Fault> {
        let mut users = BTreeMap::new();
        for row in &ROLES {
            let fault = |what| Fault::new(Exit::NoPerm, format!("the user {} {what}", row.user));
            let uid = uid_of(passwd, row.user).ok_or_else(|| fault("does not exist"))?;
            if uid == 0 {
                return Err(fault("is root"));
            }
            if users.insert(uid, row.role).is_some() {
                return Err(fault("has the uid of another role"));
            }
        }
        Ok(Self(users))
    }

    /// The role of a uid.
    pub fn role(&self, uid: u32) -> Option<Role> {
        self.0.get(&uid).copied()
    }
}

fn uid_of(passwd: &str, user: &str) -> Option<u32> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(user))
            .then(|| fields.nth(1)?.parse().ok())
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    fn passwd(uid: impl Fn(u32) -> u32) -> String {
        let mut text = "root:x:0:0:root:/root:/bin/sh\n".to_owned();
        for (number, row) in (0_u32..).zip(&ROLES) {
            writeln!(text, "{}:!:{}:7:x:/:/nologin", row.user, uid(number)).unwrap();
        }
        text
    }

    #[test]
    fn a_role_is_known_by_its_uid() {
        let users = Users::from_passwd(&passwd(|number| 900 + number)).unwrap();
        assert_eq!(users.role(900), Some(Role::Engine));
        assert_eq!(users.role(905), Some(Role::Tpm));
        assert_eq!(users.role(0), None);
        assert_eq!(users.role(906), Some(Role::Bootstrap));
        assert_eq!(users.role(907), Some(Role::Updater));
        assert_eq!(users.role(908), None);
    }

    #[test]
    fn a_user_that_is_missing_shared_or_root_is_an_error() {
        let whole = passwd(|number| 900 + number);
        let missing = whole.replace("bartizan-qkd:", "bartizan-qkd2:");
        for text in [missing, passwd(|_| 900), passwd(|number| number)] {
            let fault = Users::from_passwd(&text).unwrap_err();
            assert_eq!(fault.exit(), Exit::NoPerm, "{fault}");
        }
    }
}
