//! The tool from keys to a checked bundle, over a version that is small; what it makes is checked by
//! sbsign's, cryptsetup's and OpenSSL's reading of it.

#[cfg(test)]
mod made;
#[cfg(test)]
mod medium;
#[cfg(test)]
mod pe;
#[cfg(test)]
mod run;
#[cfg(test)]
mod small;
#[cfg(test)]
mod verified;
