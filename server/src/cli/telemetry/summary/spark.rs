//! Small bars and lines of block characters.

const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const WIDTHS: [char; 7] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/// A line of at most `width_max` characters. Neighbours share a character where there are more values, added up. A value that
/// is not there is a gap; one that is 0 is the lowest character.
pub(super) fn line(values: &[u64], width_max: usize) -> String {
    let each = values.len().div_ceil(width_max.max(1)).max(1);
    let sums: Vec<u64> =
        values.chunks(each).map(|chunk| chunk.iter().fold(0, |a, b| u64::saturating_add(a, *b))).collect();
    let highest = sums.iter().copied().max().unwrap_or(0).max(1);
    let height = |sum: &u64| {
        let step = u128::from(*sum) * (HEIGHTS.len() as u128 - 1);
        // Rounded up: what is there is seen.
        HEIGHTS[usize::try_from(step.div_ceil(u128::from(highest))).unwrap_or(0).min(HEIGHTS.len() - 1)]
    };
    sums.iter().map(height).collect()
}

/// A bar of at most `width_max` characters; `value` of `highest`.
pub(super) fn bar(value: u64, highest: u64, width_max: usize) -> String {
    if value == 0 || highest == 0 {
        return String::new();
    }
    let eighths = u128::from(value) * (width_max as u128 * 8) / u128::from(highest);
    let eighths = usize::try_from(eighths).unwrap_or(usize::MAX).clamp(1, width_max * 8);
    let mut bar = "█".repeat(eighths / 8);
    if let Some(rest) = (eighths % 8).checked_sub(1) {
        bar.push(WIDTHS[rest]);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_from_the_lowest_to_the_highest() {
        assert_eq!(line(&[0, 1, 4, 7], 10), "▁▂▅█");
        assert_eq!(line(&[0, 0], 10), "▁▁");
        assert_eq!(line(&[], 10), "");
        assert_eq!(line(&[1, 1, 2, 2, 3], 3), "▅█▇", "neighbours are added up");
        assert_eq!(line(&[u64::MAX, 1], 10), "█▂");
    }

    #[test]
    fn a_bar_is_as_long_as_its_part_and_never_nothing() {
        assert_eq!(bar(10, 10, 4), "████");
        assert_eq!(bar(5, 10, 3), "█▌");
        assert_eq!(bar(1, 1_000_000, 4), "▏");
        assert_eq!((bar(0, 10, 4), bar(1, 0, 4)), (String::new(), String::new()));
        assert_eq!(bar(u64::MAX, u64::MAX, 4), "████");
    }
}
