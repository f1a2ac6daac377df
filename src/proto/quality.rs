//! Quality values of a negotiation: `;q=0.5` (RFC 9110, 12.4.2), in thousandths.

/// Weight of an element without a quality value.
pub const FULL: u16 = 1000;

/// Returns the weight of an element from its parameters, such as `q=0.5`. A malformed weight is 0:
/// the element is not acceptable.
pub fn weight<'l>(mut parameters: impl Iterator<Item = &'l [u8]>) -> u16 {
    let weight = parameters.find_map(|parameter| match parameter {
        [b'q' | b'Q', b'=', value @ ..] => Some(thousandths(value).unwrap_or(0)),
        _ => None,
    });
    weight.unwrap_or(FULL)
}

/// Parses `0` or `1` with up to three decimals.
fn thousandths(value: &[u8]) -> Option<u16> {
    let (&whole, rest) = value.split_first()?;
    let decimals = match rest {
        [] => rest,
        [b'.', decimals @ ..] => decimals,
        _ => return None,
    };
    if decimals.len() > 3 || !decimals.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |place: usize| {
        decimals
            .get(place)
            .map_or(0, |digit| u16::from(digit - b'0'))
    };
    let part = digit(0) * 100 + digit(1) * 10 + digit(2);
    match whole {
        b'0' => Some(part),
        b'1' if part == 0 => Some(FULL),
        _ => None,
    }
}
