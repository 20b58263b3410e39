//! Axes: where a value stands, and which values are written beside.

/// How values become places.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scale {
    /// Evenly, from one value to another.
    Linear(f64, f64),
    /// Shares from 0 to nearly 1, by the number of nines: each step to the right leaves a tenth of what was left out
    /// before. Up to so many nines.
    Nines(u32),
}

/// An axis.
#[derive(Debug, Clone)]
pub(crate) struct Axis {
    /// What is told, with its unit.
    pub(crate) title: String,
    pub(crate) scale: Scale,
    /// Whether the marks stand for things that can be counted, so that only whole numbers are written.
    whole: bool,
}

impl Axis {
    /// From 0 to a round number no less than `most`.
    pub(crate) fn to(title: &str, most: f64) -> Self {
        Self { title: title.to_owned(), scale: Scale::Linear(0.0, end(most)), whole: false }
    }

    /// From one value to another, which is made different if it is not.
    pub(crate) fn between(title: &str, from: f64, to: f64) -> Self {
        let to = if to > from { to } else { from + 1.0 };
        Self { title: title.to_owned(), scale: Scale::Linear(from, to), whole: false }
    }

    /// Whole numbers from 0, each in the middle of its part.
    pub(crate) fn numbers(title: &str, count: usize) -> Self {
        let scale = Scale::Linear(-0.5, count.max(1) as f64 - 0.5);
        Self { title: title.to_owned(), scale, whole: true }
    }

    /// Percentiles of so many values.
    pub(crate) fn percentiles(title: &str, values: u64) -> Self {
        let nines = (values.max(1) as f64).log10().ceil().clamp(1.0, 6.0);
        Self { title: title.to_owned(), scale: Scale::Nines(nines as u32), whole: false }
    }

    /// Where a value stands: 0 at the start, 1 at the end, and never beyond.
    pub(crate) fn place(&self, value: f64) -> f64 {
        let place = match self.scale {
            Scale::Linear(from, to) => (value - from) / (to - from),
            Scale::Nines(nines) => -(1.0 - value).max(1e-12).log10() / f64::from(nines),
        };
        if place.is_finite() { place.clamp(0.0, 1.0) } else { 0.0 }
    }

    /// Values to be written, a handful, with how.
    pub(crate) fn ticks(&self) -> Vec<(f64, String)> {
        match self.scale {
            Scale::Linear(from, to) => {
                let step = nice((to - from) / 6.0);
                let step = if self.whole { step.ceil().max(1.0) } else { step };
                let first = (from / step).ceil();
                let values = (0..=12).map(|number| (first + f64::from(number)) * step);
                values.filter(|value| *value <= to + step * 1e-6).map(|value| (value, number(value, step))).collect()
            }
            Scale::Nines(nines) => {
                let share = |nines: u32| 1.0 - 10_f64.powi(-(nines as i32));
                let label = |nines: u32| format!("{:.*} %", nines.saturating_sub(2) as usize, share(nines) * 100.0);
                // The first one has no room where there are many.
                let low = [(0.0, "0 %".to_owned()), (0.5, "50 %".to_owned())].into_iter().skip(usize::from(nines > 4));
                low.chain((1..=nines).map(|nines| (share(nines), label(nines)))).collect()
            }
        }
    }
}

/// A number with as many digits as tell it from those a `step` away.
pub(crate) fn number(value: f64, step: f64) -> String {
    let digits = (-step.max(1e-9).log10()).ceil().clamp(0.0, 6.0) as usize;
    let finer = step * 10_f64.powi(digits as i32);
    let digits = digits + usize::from((finer - finer.round()).abs() > 1e-6 && digits < 6);
    format!("{:.digits$}", if value == 0.0 { 0.0 } else { value })
}

/// The next value that is good as a step: 1, 2, 2.5, 5 times a power of ten.
fn nice(value: f64) -> f64 {
    next(value, &[1.0, 2.0, 2.5, 5.0, 10.0])
}

/// The next value that is good as an end: it is not far, and its fifth is round.
pub(crate) fn end(value: f64) -> f64 {
    next(value, &[1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0])
}

fn next(value: f64, of: &[f64]) -> f64 {
    let value = if value.is_finite() { value.max(1e-9) } else { 1.0 };
    let power = 10_f64.powf(value.log10().floor());
    of.iter().map(|step| step * power).find(|step| *step >= value).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> String {
        axis.ticks().into_iter().map(|(_, label)| label).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn axes_end_at_round_numbers() {
        assert_eq!([0.7, 1.0, 1.3, 2.2, 3.0, 12.0, 260.0].map(nice), [1.0, 1.0, 2.0, 2.5, 5.0, 20.0, 500.0]);
        assert_eq!([0.0007, 1.0, 1.3, 2.7, 119.0].map(end), [0.0008, 1.0, 1.5, 3.0, 150.0]);
    }

    #[test]
    fn ticks_are_few_round_and_told_apart() {
        assert_eq!(labels(&Axis::to("", 260.0)), "0 50 100 150 200 250 300");
        assert_eq!(labels(&Axis::to("", 2.2)), "0.0 0.5 1.0 1.5 2.0 2.5");
        assert_eq!(labels(&Axis::between("", 1.0, 1.7)), "1.0 1.2 1.4 1.6");
        assert_eq!(labels(&Axis::numbers("", 4)), "0 1 2 3");
        assert_eq!(labels(&Axis::percentiles("", 900)), "0 % 50 % 90 % 99 % 99.9 %");
        for odd in [Axis::between("", 3.0, 3.0), Axis::to("", 1e300), Axis::to("", f64::NAN), Axis::numbers("", 0)] {
            assert!((1..=13).contains(&odd.ticks().len()), "{odd:?}");
        }
    }

    #[test]
    fn places_stay_on_the_axis() {
        let axis = Axis::to("", 10.0);
        assert_eq!([-1.0, 0.0, 5.0, 11.0, f64::NAN].map(|value| axis.place(value)), [0.0, 0.0, 0.5, 1.0, 0.0]);
        let nines = Axis::percentiles("", 1000);
        assert!((nines.place(0.9) - 1.0 / 3.0).abs() < 1e-9 && nines.place(1.0) == 1.0);
    }
}
