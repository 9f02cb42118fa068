//! Loops compiled for the instruction set of the processor.

/// Define a function that is compiled for AVX2 and for any processor; each call selects the one that fits.
///
/// Functions that the body calls must be `#[inline(always)]`, or they are compiled for any processor only. A closure
/// for [`pulp::Arch::dispatch`] would be shorter, but long ones are not inlined.
macro_rules! vectorised {
    ($(
        $(#[$attribute:meta])*
        $visibility:vis fn $name:ident($($argument:ident: $type:ty),+ $(,)?) $(-> $output:ty)? $body:block
    )+) => {$(
        $(#[$attribute])*
        $visibility fn $name($($argument: $type),+) $(-> $output)? {
            struct Call<A>(A);
            impl pulp::NullaryFnOnce for Call<($($type,)+)> {
                type Output = crate::vectorised::output!($($output)?);

                #[inline(always)]
                fn call(self) -> Self::Output {
                    let Self(($($argument,)+)) = self;
                    $body
                }
            }
            pulp::Arch::new().dispatch(Call(($($argument,)+)))
        }
    )+};
}

/// What a function returns that may not say so.
macro_rules! output {
    () => {
        ()
    };
    ($output:ty) => {
        $output
    };
}

pub(crate) use {output, vectorised};
