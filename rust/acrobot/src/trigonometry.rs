//! Sine and cosine that the compiler vectorises on any x86-64, and that round alike everywhere.

use std::f64::consts::FRAC_2_PI;

/// Adding it rounds to an integer and leaves that integer, two's complement, in the low bits.
const ROUND: f64 = 6_755_399_441_055_744.0; // 1.5 * 2^52
/// The first 33 bits of pi/2: its product with an integer below 2^20 is exact (fdlibm e_rem_pio2.c).
const FRAC_PI_2_HIGH: f64 = f64::from_bits(0x3FF9_21FB_5440_0000);
/// pi/2 less the part above.
const FRAC_PI_2_LOW: f64 = f64::from_bits(0x3DD0_B461_1A62_6331);

// fdlibm k_sin.c and k_cos.c, for |x| <= pi/4.
const S1: f64 = f64::from_bits(0xBFC5_5555_5555_5549);
const S2: f64 = f64::from_bits(0x3F81_1111_1110_F8A6);
const S3: f64 = f64::from_bits(0xBF2A_01A0_19C1_61D5);
const S4: f64 = f64::from_bits(0x3EC7_1DE3_57B1_FE7D);
const S5: f64 = f64::from_bits(0xBE5A_E5E6_8A2B_9CEB);
const S6: f64 = f64::from_bits(0x3DE5_D93A_5ACF_D57C);
const C1: f64 = f64::from_bits(0x3FA5_5555_5555_554C);
const C2: f64 = f64::from_bits(0xBF56_C16C_16C1_5177);
const C3: f64 = f64::from_bits(0x3EFA_01A0_19CB_1590);
const C4: f64 = f64::from_bits(0xBE92_7E4F_809C_52AD);
const C5: f64 = f64::from_bits(0x3E21_EE9E_BDB4_B1C4);
const C6: f64 = f64::from_bits(0xBDA8_FAE9_BE88_38D4);

/// The sine and the cosine of `x` radians, each within 1 ulp or 2e-16, for `|x|` below 1e6.
///
/// No branch, no table, no call: a loop over it becomes vector instructions on baseline x86-64.
#[inline(always)]
#[must_use]
pub fn sin_cos(x: f64) -> (f64, f64) {
    let rounded = x * FRAC_2_PI + ROUND;
    let quadrant = rounded.to_bits();
    let quarter_turns = rounded - ROUND;
    let r = (x - quarter_turns * FRAC_PI_2_HIGH) - quarter_turns * FRAC_PI_2_LOW;
    let z = r * r;
    let sine = r + r * z * (S1 + z * (S2 + z * (S3 + z * (S4 + z * (S5 + z * S6)))));
    let half = 0.5 * z;
    let near_one = 1.0 - half;
    let tail = z * z * (C1 + z * (C2 + z * (C3 + z * (C4 + z * (C5 + z * C6)))));
    let cosine = near_one + (((1.0 - near_one) - half) + tail);
    // An odd quarter turn swaps the two; bit masks, because SSE2 cannot compare 64-bit integers.
    let odd = 0_u64.wrapping_sub(quadrant & 1);
    let (s, c) = (sine.to_bits(), cosine.to_bits());
    let sine = ((s & !odd) | (c & odd)) ^ ((quadrant & 2) << 62);
    let cosine = ((c & !odd) | (s & odd)) ^ ((quadrant.wrapping_add(1) & 2) << 62);
    (f64::from_bits(sine), f64::from_bits(cosine))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_standard_library() {
        let mut worst = 0.0_f64;
        for i in -2_000_000..2_000_000 {
            let x = f64::from(i) * 1.234_567_89e-5;
            let (sine, cosine) = sin_cos(x);
            worst = worst
                .max((sine - x.sin()).abs())
                .max((cosine - x.cos()).abs());
        }
        assert!(worst <= 2.3e-16, "{worst:e}");
    }

    #[test]
    fn large_angles_are_reduced_exactly() {
        for i in 1..10_000 {
            let x = f64::from(i) * 99.7;
            let (sine, cosine) = sin_cos(x);
            assert!((sine - x.sin()).abs() <= 2.3e-16, "sin({x})");
            assert!((cosine - x.cos()).abs() <= 2.3e-16, "cos({x})");
        }
    }

    #[test]
    fn zero_is_exact() {
        assert_eq!(sin_cos(0.0), (0.0, 1.0));
    }
}
