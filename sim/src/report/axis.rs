//! The scales of a picture.

use std::time::Duration;

use super::text::number;

/// A scale.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    pub(crate) label: String,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) is_log: bool,
    step: f64,
}

impl Axis {
    /// Makes a scale that holds all values, from zero if they are not far from it.
    pub(crate) fn linear(label: &str, values: impl Iterator<Item = f64>, from_zero: bool) -> Self {
        let (low, high) = range(values);
        let low = if from_zero { low.min(0.0) } else { low };
        let high = if high > low { high } else { low + 1.0 };
        let step = step((high - low) / 5.0);
        let (min, max) = ((low / step).floor() * step, (high / step).ceil() * step);
        Self { label: label.to_owned(), min, max, is_log: false, step }
    }

    /// Makes a scale of seconds that ends when something ended.
    pub(crate) fn time(end: Duration) -> Self {
        let max = end.as_secs_f64().max(1e-3);
        Self { label: "seconds".to_owned(), min: 0.0, max, is_log: false, step: step(max / 8.0) }
    }

    /// Makes a scale of whole numbers, with half of one to spare at both ends.
    pub(crate) fn whole(label: &str, values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = range(values);
        let step = step(((high - low) / 8.0).max(1.0));
        Self { label: label.to_owned(), min: low - 0.5, max: high + 0.5, is_log: false, step }
    }

    /// Makes a scale of powers of ten.
    pub(crate) fn log(label: &str, values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = range(values.filter(|value| *value > 0.0));
        let min = 10_f64.powf(low.max(1e-6).log10().floor());
        let max = 10_f64.powf(high.max(min * 10.0).log10().ceil());
        Self { label: label.to_owned(), min, max, is_log: true, step: 1.0 }
    }

    /// Returns where a value lies, from zero to one.
    pub(crate) fn place(&self, value: f64) -> f64 {
        let place = if self.is_log {
            (value.max(self.min) / self.min).log10() / (self.max / self.min).log10()
        } else {
            (value - self.min) / (self.max - self.min)
        };
        place.clamp(0.0, 1.0)
    }

    /// Returns the values that get a mark, each with its text.
    pub(crate) fn ticks(&self) -> Vec<(f64, String)> {
        if self.is_log {
            let decades = (self.max / self.min).log10().round();
            let powers = (0..=12).map(f64::from).take_while(|power| *power <= decades);
            return powers
                .map(|power| self.min * 10_f64.powf(power))
                .map(|value| (value, short(value)))
                .collect();
        }
        let first = (self.min / self.step - 1e-9).ceil() * self.step;
        let marks = (0..=20).map(|mark| first + f64::from(mark) * self.step);
        let marks = marks.take_while(|value| *value <= self.max + self.step * 1e-6);
        marks.map(|value| (value, self.mark(value))).collect()
    }

    fn mark(&self, value: f64) -> String {
        let digits = (0..6).find(|&digits| {
            let scaled = self.step * 10_f64.powi(digits);
            (scaled - scaled.round()).abs() < 1e-6
        });
        let digits = usize::try_from(digits.unwrap_or(6)).unwrap_or(6);
        if self.step >= 1000.0 { short(value) } else { format!("{value:.digits$}") }
    }
}

fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (v.min(low), v.max(high)));
    if low > high { (0.0, 1.0) } else { (low, high) }
}

/// Returns 1, 2 or 5 times a power of ten, not less than the value.
fn step(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    steps.into_iter().find(|&step| step >= value * 0.999_999).unwrap_or(power * 10.0)
}

/// Writes a large number with its unit.
fn short(value: f64) -> String {
    let brief = |value: f64| match number(value) {
        digits if digits.contains('.') => {
            digits.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        digits => digits,
    };
    if value >= 1e6 {
        format!("{} M", brief(value / 1e6))
    } else if value >= 1000.0 {
        format!("{} k", brief(value / 1000.0))
    } else {
        brief(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_numbers() {
        let texts = |axis: Axis| {
            let texts: Vec<String> = axis.ticks().into_iter().map(|(_, text)| text).collect();
            texts.join(" ")
        };
        let linear = |values: [f64; 2]| texts(Axis::linear("", values.into_iter(), true));
        assert_eq!(linear([3.0, 48.0]), "0 10 20 30 40 50");
        assert_eq!(linear([0.0, 0.17]), "0.00 0.05 0.10 0.15 0.20");
        assert_eq!(linear([0.0, 0.0]), "0.0 0.2 0.4 0.6 0.8 1.0");
        assert_eq!(texts(Axis::whole("", [7.0, 9.0].into_iter())), "7 8 9");
        let log = Axis::log("", [100.0, 100_000.0].into_iter());
        assert_eq!(texts(log), "100 1 k 10 k 100 k");
        assert_eq!(linear([0.0, 1.4e6]), "0 500 k 1 M 1.5 M");
        assert_eq!(texts(Axis::time(Duration::from_secs(53))), "0 10 20 30 40 50");
    }
}
