//! Points on the Earth, and how far they are from one another.

/// The mean radius of the Earth in kilometres (IUGG, 1980: (2a + b) / 3 of GRS 80).
pub const EARTH_RADIUS_KM: f64 = 6371.0088;

/// A point on the Earth, in degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Coordinates {
    /// North is positive: -90 to 90.
    pub latitude: f64,
    /// East is positive: -180 to 180.
    pub longitude: f64,
}

impl Coordinates {
    /// A point; `None` if it is none, or (0, 0), which databases write for places that they do not know.
    pub fn new(latitude: f64, longitude: f64) -> Option<Self> {
        let is_point = (-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude);
        let is_somewhere = latitude != 0.0 || longitude != 0.0;
        // Zero has one form: places are told apart by their bits, and -0 is where 0 is.
        let [latitude, longitude] = [latitude, longitude].map(|degrees| degrees + 0.0);
        (is_point && is_somewhere).then_some(Self { latitude, longitude })
    }

    /// The great-circle distance, in radians: 0 to pi (haversine formula; Sinnott, "Virtues of the Haversine", 1984).
    ///
    /// Differences are taken in degrees, as people write them, so that what is as far to one side as to the other is so exactly.
    pub fn angle_to(self, other: Self) -> f64 {
        let half_chord = |degrees: f64| (degrees.to_radians() / 2.0).sin().powi(2);
        let cosines = self.latitude.to_radians().cos() * other.latitude.to_radians().cos();
        let square =
            half_chord(other.latitude - self.latitude) + cosines * half_chord(other.longitude - self.longitude);
        2.0 * square.clamp(0.0, 1.0).sqrt().asin()
    }

    /// The great-circle distance in kilometres, on a sphere.
    pub fn kilometres_to(self, other: Self) -> f64 {
        self.angle_to(other) * EARTH_RADIUS_KM
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(latitude: f64, longitude: f64) -> Coordinates {
        Coordinates::new(latitude, longitude).unwrap()
    }

    #[test]
    fn distances_are_those_of_the_tables() {
        // Movable Type's worked example, and a quarter and a half of a great circle.
        let (a, b) = (point(50.0664, -5.7147), point(58.6439, -3.0700));
        assert!((a.kilometres_to(b) - 968.9).abs() < 0.1, "{}", a.kilometres_to(b));
        let quarter = EARTH_RADIUS_KM * std::f64::consts::FRAC_PI_2;
        assert!((point(90.0, 0.0).kilometres_to(point(0.0, 77.0)) - quarter).abs() < 1e-6);
        assert!((point(10.0, 20.0).kilometres_to(point(-10.0, -160.0)) - 2.0 * quarter).abs() < 1e-3);
        assert_eq!(a.angle_to(a), 0.0);
    }

    #[test]
    fn what_is_as_far_to_either_side_is_so_exactly() {
        let client = point(50.0, 10.0);
        assert_eq!(client.angle_to(point(50.0, 0.0)), client.angle_to(point(50.0, 20.0)));
        assert_eq!(
            point(0.0, 7.0).angle_to(point(33.3, 5.0)),
            point(0.0, 7.0).angle_to(point(-33.3, 9.0))
        );
        // The date line is no border.
        assert!(point(0.5, 179.0).kilometres_to(point(0.5, -179.0)) < 223.0);
    }

    #[test]
    fn zero_zero_is_nobodys_location() {
        assert_eq!(Coordinates::new(0.0, 0.0), None);
        assert_eq!(Coordinates::new(-0.0, 0.0), None);
        assert_eq!(Coordinates::new(91.0, 0.0), None);
        assert_eq!(Coordinates::new(f64::NAN, 1.0), None);
        assert!(Coordinates::new(0.0, 10.0).is_some());
    }

    #[test]
    fn minus_zero_is_zero() {
        let Coordinates { latitude, longitude } = point(-0.0, 10.0);
        assert!(latitude.is_sign_positive() && point(51.5, -0.0).longitude.is_sign_positive());
        assert_eq!(longitude, 10.0);
    }
}
