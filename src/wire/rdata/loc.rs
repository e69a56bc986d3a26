//! LOC: a place on Earth, its size and how exactly it is known (RFC 1876).

use super::RdataError;
use super::read::Reader;
use super::token::Token;
use super::value::number;
use super::write::Wire;

/// The equator and the prime meridian; angles are thousandths of a second of arc from them (RFC 1876 2).
const ANGLE_ZERO: i64 = 1 << 31;

/// Altitudes are centimetres above a point 100 km below the spheroid (RFC 1876 2).
const ALTITUDE_ZERO: i64 = 10_000_000;

/// The largest size or precision in centimetres: 9e9.
const DISTANCE_MAX: i64 = 9_000_000_000;

/// A degree in thousandths of a second of arc.
const DEGREE: i64 = 3_600_000;

/// `D [M [S]] N|S D [M [S]] E|W ALTITUDE [SIZE [HORIZONTAL [VERTICAL]]]`, distances in metres.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<(), RdataError> {
    let latitude = angle(reader, "latitude", 90, ["N", "S"])?;
    let longitude = angle(reader, "longitude", 180, ["E", "W"])?;
    let token = reader.take("ALTITUDE")?;
    let altitude = metres(&token, "altitude", -ALTITUDE_ZERO..=i64::from(u32::MAX) - ALTITUDE_ZERO)? + ALTITUDE_ZERO;
    reader.push_number(0, 1);
    // Unless given: 1 m, 10 km and 10 m (RFC 1876 3).
    for (label, default) in [
        ("size", 100),
        ("horizontal precision", 1_000_000),
        ("vertical precision", 1_000),
    ] {
        let centimetres = match reader.rest().is_empty() {
            true => default,
            false => metres(&reader.take(label)?, label, 0..=DISTANCE_MAX)?,
        };
        reader.out.push(distance(centimetres));
    }
    for value in [latitude, longitude, altitude] {
        reader.push_number(value.unsigned_abs(), 4);
    }
    Ok(())
}

/// Degrees, minutes and seconds up to a letter, as wire form has them.
fn angle(reader: &mut Reader<'_>, label: &str, most: u64, letters: [&str; 2]) -> Result<i64, RdataError> {
    let [positive, negative] = letters;
    let mut thousandths = 0;
    let mut parts = [(most, DEGREE, 0), (59, 60_000, 0), (59, 1_000, 3)].into_iter();
    let mut first = None;
    loop {
        let token = reader.take(&format!("`{positive}` or `{negative}` after the {label}"))?;
        let letter = token.raw.to_ascii_uppercase();
        if let Some(first) = first
            && letters.contains(&letter.as_str())
        {
            if thousandths > i64::try_from(most).unwrap_or(0) * DEGREE {
                return Err(RdataError::new(first, format!("a {label} has at most {most} degrees")));
            }
            let sign = if letter == positive { 1 } else { -1 };
            return Ok(ANGLE_ZERO + sign * thousandths);
        }
        first = first.or(Some(token.offset));
        let (most, unit, decimals) = parts
            .next()
            .ok_or_else(|| token.fault(format!("{} is neither `{positive}` nor `{negative}`", token.shown())))?;
        let part = decimal(token.raw, decimals)
            .filter(|part| *part < (i64::try_from(most).unwrap_or(0) + 1) * 10_i64.pow(decimals));
        let part = part.ok_or_else(|| {
            token.fault(format!(
                "{} is not a part of a {label}: a number from 0 to {most} is expected",
                token.shown()
            ))
        })?;
        thousandths += part * unit / 10_i64.pow(decimals);
    }
}

/// A distance in centimetres from metres with up to two decimals and perhaps an `m`.
fn metres(token: &Token<'_>, label: &str, range: std::ops::RangeInclusive<i64>) -> Result<i64, RdataError> {
    let text = token.raw.strip_suffix(['m', 'M']).unwrap_or(token.raw);
    let value = match text.strip_prefix('-') {
        Some(depth) => decimal(depth, 2).map(|depth| -depth),
        None => decimal(text.strip_prefix('+').unwrap_or(text), 2),
    };
    value.filter(|value| range.contains(value)).ok_or_else(|| {
        let (least, most) = (range.start() / 100, range.end() / 100);
        token.fault(format!(
            "{} is not a {label}: metres from {least} to {most} are expected",
            token.shown()
        ))
    })
}

/// A number with up to so many decimals, in units of the last of them.
fn decimal(text: &str, decimals: u32) -> Option<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = u32::try_from(part.len()).ok().filter(|digits| *digits <= decimals)?;
    let whole = number(whole, u32::MAX.into())?;
    let part = if part.is_empty() { 0 } else { number(part, 999)? };
    i64::try_from(whole * 10_u64.pow(decimals) + part * 10_u64.pow(decimals - digits)).ok()
}

/// A distance as mantissa and exponent of ten, what is finer being dropped as RFC 1876's own code does.
fn distance(centimetres: i64) -> u8 {
    let mut mantissa = centimetres;
    let mut exponent = 0;
    while mantissa > 9 {
        mantissa /= 10;
        exponent += 1;
    }
    u8::try_from(mantissa << 4 | exponent).unwrap_or(0x99)
}

/// All fields, none left to its default; `None` for another version or what is not on Earth.
pub(super) fn write(wire: &mut Wire<'_>) -> Option<String> {
    let [version, sizes @ ..] = wire.array::<4>()?;
    let (latitude, longitude, altitude) = (wire.u32()?, wire.u32()?, wire.u32()?);
    if version != 0 {
        return None;
    }
    let mut words = vec![
        write_angle(latitude, 90, ["N", "S"])?,
        write_angle(longitude, 180, ["E", "W"])?,
    ];
    words.push(write_metres(i64::from(altitude) - ALTITUDE_ZERO));
    for size in sizes {
        let (mantissa, exponent) = (i64::from(size >> 4), size & 15);
        if mantissa > 9 || exponent > 9 {
            return None;
        }
        words.push(write_metres(mantissa * 10_i64.pow(exponent.into())));
    }
    Some(words.join(" "))
}

fn write_angle(wire: u32, most: i64, [positive, negative]: [&str; 2]) -> Option<String> {
    let value = i64::from(wire) - ANGLE_ZERO;
    let letter = if value < 0 { negative } else { positive };
    let value = value.abs();
    let (seconds, thousandths) = (value / 1_000, value % 1_000);
    let (degrees, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    (value <= most * DEGREE).then(|| format!("{degrees} {minutes} {seconds}.{thousandths:03} {letter}"))
}

fn write_metres(centimetres: i64) -> String {
    let sign = if centimetres < 0 { "-" } else { "" };
    let (metres, part) = (centimetres.abs() / 100, centimetres.abs() % 100);
    format!("{sign}{metres}.{part:02}m")
}
