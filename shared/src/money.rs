//! Money: decimals with four places, never floats.
