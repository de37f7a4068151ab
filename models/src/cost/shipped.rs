//! The profiles that come with the program.

use crate::cost::{CostError, Profile};

macro_rules! shipped {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../data/profiles/", $name, ".toml")))),*]
    };
}

/// Name and text of each, sorted by name.
const SHIPPED: &[(&str, &str)] = shipped![];

/// Text of a shipped profile.
pub fn shipped_text(name: &str) -> Option<&'static str> {
    SHIPPED.binary_search_by_key(&name, |&(name, _)| name).ok().map(|i| SHIPPED[i].1)
}

/// A shipped profile in a few words.
#[derive(Clone, Debug)]
pub struct ProfileSummary {
    /// Its name.
    pub name: &'static str,
    /// All of it.
    pub profile: Profile,
}

/// The shipped profiles, sorted by name.
///
/// # Errors
///
/// [`CostError::Invalid`] never happens with the files of a release: a test reads them all.
pub fn profiles() -> Result<Vec<ProfileSummary>, CostError> {
    SHIPPED.iter().map(|&(name, text)| Ok(ProfileSummary { name, profile: Profile::parse(name, text)? })).collect()
}

/// The names of the shipped profiles.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    SHIPPED.iter().map(|&(name, _)| name)
}
