//! Expositions of a given size for benchmarks, tests and load generators, the same each time: six labels a series, HELP and TYPE,
//! half of the series in histograms, some 185 bytes a series.

use std::fmt::Write;

/// The bounds of each histogram; with sum and count that is twelve series.
const BOUNDS: [&str; 10] = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "+Inf"];

/// Series of each family that is no histogram.
const FLAT_SERIES: usize = 10;

const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];
const STATUS: [&str; 5] = ["200", "201", "302", "404", "500"];
const ROUTES: [&str; 6] = [
    "/api/v1/orders",
    "/api/v1/orders/{id}",
    "/api/v1/customers",
    "/login",
    "/api/v2/search/products",
    "/healthz",
];

/// The difference between the labels of neighboring series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The last labels change from line to line, as client libraries write.
    Natural,
    /// The first label changes with each line and most others too: nothing can be taken over from the line before.
    Hard,
}

/// The parameters of generated texts.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    /// The number of series of each app.
    pub series: usize,
    /// The number of families out of a hundred that have the same name in every app.
    pub shared: usize,
    /// The difference between neighboring series.
    pub order: Order,
}

impl Workload {
    /// Apps of this many series that share no family.
    pub const fn of(series: usize) -> Self {
        Self {
            series,
            shared: 0,
            order: Order::Natural,
        }
    }

    /// The text of app number `app`, in the text format. `turn` makes other values of the same series.
    pub fn app(&self, app: usize, turn: usize) -> String {
        let mut text = String::with_capacity(self.series * 200);
        let mut left = self.series;
        let mut family = 0;
        while left > 0 {
            let shared = (family * 37) % 100 < self.shared;
            let name = if shared {
                format!("shared_{family}")
            } else {
                format!("app{app}_{family}")
            };
            left -= match family % 11 {
                // Six families of ten series weigh as much as five histograms of twelve.
                0 | 2 | 4 | 6 | 8 => self.histogram(&mut text, &name, app, turn, left),
                _ => self.flat(&mut text, &name, app, turn, left, family % 2 == 1),
            };
            family += 1;
        }
        text
    }

    fn histogram(&self, text: &mut String, name: &str, app: usize, turn: usize, room: usize) -> usize {
        let name = format!("{name}_request_duration_seconds");
        let _ = write!(
            text,
            "# HELP {name} Time from the first byte of the request to the last of the answer.\n# TYPE {name} histogram\n"
        );
        let labels = self.labels(app, name.len(), 5);
        for (at, bound) in BOUNDS.iter().enumerate().take(room) {
            let _ = writeln!(text, "{name}_bucket{{{labels},le=\"{bound}\"}} {}", at * 137 + turn);
        }
        for (suffix, value) in [("sum", "52.837451"), ("count", "")]
            .into_iter()
            .take(room.saturating_sub(BOUNDS.len()))
        {
            let value = if value.is_empty() {
                (9 * 137 + turn).to_string()
            } else {
                value.to_owned()
            };
            let _ = writeln!(text, "{name}_{suffix}{{{labels}}} {value}");
        }
        room.min(BOUNDS.len() + 2)
    }

    fn flat(&self, text: &mut String, name: &str, app: usize, turn: usize, room: usize, counter: bool) -> usize {
        let (name, kind) = if counter {
            (format!("{name}_requests_handled_total"), "counter")
        } else {
            (format!("{name}_queue_depth_of_workers"), "gauge")
        };
        let _ = write!(
            text,
            "# HELP {name} How many there were of these since the start.\n# TYPE {name} {kind}\n"
        );
        for at in 0..room.min(FLAT_SERIES) {
            let labels = self.labels(app, at, 6);
            let _ = writeln!(text, "{name}{{{labels}}} {}", at * 977 + turn);
        }
        room.min(FLAT_SERIES)
    }

    /// The first `count` of six labels.
    fn labels(&self, app: usize, at: usize, count: usize) -> String {
        let fixed = [
            ("datacenter", "eu-central-1"),
            ("instance", "10.23.14.7:9100"),
            ("service", "checkout-service"),
        ]
        .map(|(n, v)| (n, v.to_owned()));
        let changing = [
            ("route", ROUTES[at / 20 % 6].to_owned()),
            ("method", METHODS[at / 5 % 4].to_owned()),
            ("status", STATUS[at % 5].to_owned()),
        ];
        let mut labels: Vec<_> = fixed.into_iter().chain(changing).collect();
        labels[1].1 = format!("10.23.{}.{}:9100", app / 250 % 250, app % 250);
        if at >= 120 {
            labels[0].1 = format!("eu-central-{}", at / 120);
        }
        if self.order == Order::Hard {
            labels.rotate_left(5);
            labels[0].1 = format!("2{at:02}");
            labels[2].1 = format!("eu-central-{}", at % 3);
            labels[3].1 = format!("10.23.{}.{at}:9100", app % 250);
        }
        let labels = labels.into_iter().take(count).map(|(name, value)| format!("{name}=\"{value}\""));
        labels.collect::<Vec<_>>().join(",")
    }
}
