//! Bytes that nobody can guess.

use std::io;

/// Fills an array from the kernel's source.
///
/// # Errors
/// What the kernel says.
pub fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        let rest = &mut bytes[filled..];
        // SAFETY: the kernel writes at most as many bytes as the slice has.
        let result = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match usize::try_from(result) {
            Ok(more) => filled += more,
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_never_the_same() {
        assert_ne!(random::<32>().unwrap(), random::<32>().unwrap());
    }
}
