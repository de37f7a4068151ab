//! Which requests of a workload a cluster serves: one pool of several behind a router by class or length.

use crate::workload::Request;

/// Who is served; the others are somebody else's. By default everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Serves {
    /// Least and most tokens of a prompt, both included.
    pub input: Option<(u32, u32)>,
    /// By class index, whether its requests are served.
    pub classes: Option<Vec<bool>>,
}

impl Serves {
    /// Only prompts of `least` to `most` tokens.
    pub fn lengths(least: u32, most: u32) -> Serves {
        Serves { input: Some((least, most)), classes: None }
    }

    /// Whether nobody is left out.
    pub fn everybody(&self) -> bool {
        self.input.is_none() && self.classes.is_none()
    }

    /// Whether requests of one class may be served here or elsewhere, by their length.
    pub fn splits_by_length(&self) -> bool {
        self.input.is_some()
    }

    /// Whether requests of a class are served, as far as that depends on the class.
    pub fn serves_class(&self, class: u16) -> bool {
        self.classes.as_ref().is_none_or(|classes| classes.get(usize::from(class)).copied().unwrap_or(false))
    }

    /// Whether a request is served.
    pub fn admits(&self, request: &Request) -> bool {
        let fits = self.input.is_none_or(|(least, most)| (least..=most).contains(&request.input_tokens));
        fits && self.serves_class(request.class)
    }

    /// Whom both serve.
    pub fn and(&self, other: &Serves) -> Serves {
        let input = match (self.input, other.input) {
            (Some(a), Some(b)) => Some((a.0.max(b.0), a.1.min(b.1))),
            (a, b) => a.or(b),
        };
        let classes = match (&self.classes, &other.classes) {
            (Some(a), Some(b)) => Some(a.iter().zip(b).map(|(a, b)| *a && *b).collect()),
            (a, b) => a.as_ref().or(b.as_ref()).cloned(),
        };
        Serves { input, classes }
    }
}
