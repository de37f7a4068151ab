//! Rust source with comments and literals blanked, so that what is left is code; and the spans of functions and impls in it.

/// Replaces comments, strings and characters by spaces. Lines stay where they are.
pub fn blank(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut code = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at);
        if end == at {
            code.push(chars[at]);
            at += 1;
            continue;
        }
        code.extend(chars[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    code
}

/// Where the comment or literal that starts at `at` ends; `at` if none starts there.
fn literal_end(chars: &[char], at: usize) -> usize {
    let starts = |text: &str| text.chars().eq(chars[at..].iter().copied().take(text.len()));
    let in_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    if starts("//") {
        return chars[at..].iter().position(|&c| c == '\n').map_or(chars.len(), |length| at + length);
    }
    if starts("/*") {
        return comment_end(chars, at);
    }
    match chars[at] {
        '"' => string_end(chars, at),
        'r' if !in_word || chars[at - 1] == 'b' => {
            let hashes = chars[at + 1..].iter().take_while(|&&c| c == '#').count();
            if chars.get(at + 1 + hashes) == Some(&'"') { raw_end(chars, at + 2 + hashes, hashes) } else { at }
        }
        '\'' if chars.get(at + 1) == Some(&'\\') => {
            let quote = chars[(at + 3).min(chars.len())..].iter().position(|&c| c == '\'');
            quote.map_or(chars.len(), |length| at + 4 + length)
        }
        // Else it is a lifetime.
        '\'' if chars.get(at + 2) == Some(&'\'') => at + 3,
        _ => at,
    }
}

/// Block comments nest.
fn comment_end(chars: &[char], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0);
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at.min(chars.len())
}

fn string_end(chars: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

/// The end of a raw string whose text starts at `start`.
fn raw_end(chars: &[char], start: usize, hashes: usize) -> usize {
    let closes = |at: usize| chars[at] == '"' && chars[at + 1..].iter().take_while(|&&c| c == '#').count() >= hashes;
    (start..chars.len()).find(|&at| closes(at)).map_or(chars.len(), |at| at + 1 + hashes)
}

/// A braced item: from the line of its keyword to that of its closing brace, both counted from 1.
pub struct Item<'a> {
    /// From the keyword to the closing brace.
    pub text: &'a str,
    /// First line.
    pub first: usize,
    /// Last line.
    pub last: usize,
}

/// The items of blanked `code` that start with `keyword` and have a body.
pub fn items<'a>(code: &'a str, keyword: &str) -> Vec<Item<'a>> {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let alone = |at: usize| !code[..at].ends_with(word) && code[at + keyword.len()..].starts_with(' ');
    let starts = code.match_indices(keyword).map(|(at, _)| at).filter(|&at| alone(at));
    let item = |at: usize| {
        let text = &code[at..at + body_end(&code[at..])?];
        let first = code[..at].matches('\n').count() + 1;
        Some(Item { text, first, last: first + text.matches('\n').count() })
    };
    starts.filter_map(item).collect()
}

/// The end of the braces that follow; `None` if the item ends with a semicolon. A semicolon in brackets is an array's.
fn body_end(code: &str) -> Option<usize> {
    let (mut braces, mut brackets) = (0, 0);
    for (at, c) in code.char_indices() {
        match c {
            '{' => braces += 1,
            '}' => braces -= 1,
            '[' | '(' => brackets += 1,
            ']' | ')' => brackets -= 1,
            ';' if braces == 0 && brackets == 0 => return None,
            _ => {}
        }
        if c == '}' && braces == 0 {
            return Some(at + 1);
        }
    }
    None
}
