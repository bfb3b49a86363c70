//! `memcpy` and its like, the same on every machine.
//!
//! The C library chooses among a dozen of each by the processor, and by its own version. These are
//! what our code and the standard library call in this program: 32 bytes at a time, so that a
//! count goes with the bytes that are moved.
//!
//! Not here: an attempt to be fast.

#[cfg(all(target_arch = "x86_64", not(test)))]
core::arch::global_asm!(
    ".globl memcpy, memmove, memset, memcmp, bcmp",
    ".set memcpy, counted_memmove",
    ".set memmove, counted_memmove",
    ".set memset, counted_memset",
    ".set memcmp, counted_memcmp",
    ".set bcmp, counted_memcmp",
);

// rdi, rsi and rdx are the arguments, rax the result: the calling convention of System V.
#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    ".globl counted_memmove, counted_memset, counted_memcmp",
    // Forwards, unless the destination begins inside the source.
    "counted_memmove:",
    "mov rax, rdi",
    "mov rcx, rdi",
    "sub rcx, rsi",
    "cmp rcx, rdx",
    "jb 6f",
    "2: cmp rdx, 32",
    "jb 3f",
    "movups xmm0, [rsi]",
    "movups xmm1, [rsi + 16]",
    "movups [rdi], xmm0",
    "movups [rdi + 16], xmm1",
    "add rsi, 32",
    "add rdi, 32",
    "sub rdx, 32",
    "jmp 2b",
    "3: cmp rdx, 8",
    "jb 4f",
    "mov rcx, [rsi]",
    "mov [rdi], rcx",
    "add rsi, 8",
    "add rdi, 8",
    "sub rdx, 8",
    "jmp 3b",
    "4: test rdx, rdx",
    "jz 5f",
    "mov cl, [rsi]",
    "mov [rdi], cl",
    "inc rsi",
    "inc rdi",
    "dec rdx",
    "jmp 4b",
    "5: ret",
    // Backwards, from the ends.
    "6: cmp rdx, 32",
    "jb 7f",
    "movups xmm0, [rsi + rdx - 16]",
    "movups xmm1, [rsi + rdx - 32]",
    "movups [rdi + rdx - 16], xmm0",
    "movups [rdi + rdx - 32], xmm1",
    "sub rdx, 32",
    "jmp 6b",
    "7: test rdx, rdx",
    "jz 5b",
    "mov cl, [rsi + rdx - 1]",
    "mov [rdi + rdx - 1], cl",
    "dec rdx",
    "jmp 7b",
    "counted_memset:",
    "mov rax, rdi",
    "movzx esi, sil",
    "mov rcx, 0x0101010101010101",
    "imul rcx, rsi",
    "movq xmm0, rcx",
    "punpcklqdq xmm0, xmm0",
    "2: cmp rdx, 32",
    "jb 3f",
    "movups [rdi], xmm0",
    "movups [rdi + 16], xmm0",
    "add rdi, 32",
    "sub rdx, 32",
    "jmp 2b",
    "3: test rdx, rdx",
    "jz 4f",
    "mov [rdi], cl",
    "inc rdi",
    "dec rdx",
    "jmp 3b",
    "4: ret",
    "counted_memcmp:",
    "xor eax, eax",
    "2: cmp rdx, 8",
    "jb 3f",
    "mov rcx, [rdi]",
    "cmp rcx, [rsi]",
    "jne 3f",
    "add rdi, 8",
    "add rsi, 8",
    "sub rdx, 8",
    "jmp 2b",
    "3: test rdx, rdx",
    "jz 4f",
    "movzx eax, byte ptr [rdi]",
    "movzx ecx, byte ptr [rsi]",
    "inc rdi",
    "inc rsi",
    "dec rdx",
    "sub eax, ecx",
    "jz 3b",
    "4: ret",
);

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use std::cmp::Ordering;

    unsafe extern "C" {
        fn counted_memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8;
        fn counted_memset(to: *mut u8, byte: i32, len: usize) -> *mut u8;
        fn counted_memcmp(a: *const u8, b: *const u8, len: usize) -> i32;
    }

    const ROOM: usize = 160;

    fn pattern() -> Vec<u8> {
        (0..ROOM).map(|at| (at * 7 + 3) as u8).collect()
    }

    #[test]
    fn moves_are_those_of_the_standard_library() {
        for len in 0..80 {
            for (from, to) in [(0, 80), (80, 0), (40, 40), (40, 41), (41, 40), (40, 72), (72, 40)] {
                let (mut ours, mut theirs) = (pattern(), pattern());
                theirs.copy_within(from..from + len, to);
                let base = ours.as_mut_ptr();
                // SAFETY: both ranges end within the vector.
                let result = unsafe { counted_memmove(base.add(to), base.add(from), len) };
                assert_eq!(result, base.wrapping_add(to));
                assert_eq!(ours, theirs, "{len} bytes from {from} to {to}");
            }
        }
    }

    #[test]
    fn filling_stays_inside() {
        for len in 0..80 {
            let (mut ours, mut theirs) = (pattern(), pattern());
            theirs[9..9 + len].fill(0xa5);
            // SAFETY: the range ends within the vector.
            unsafe { counted_memset(ours.as_mut_ptr().add(9), 0x1a5, len) };
            assert_eq!(ours, theirs, "{len} bytes");
        }
    }

    #[test]
    fn order_is_that_of_the_first_other_byte() {
        let a = pattern();
        for len in 0..80 {
            for other in 0..len.max(1) {
                let mut b = pattern();
                b[other] = b[other].wrapping_add(100);
                // SAFETY: both are longer than `len`.
                let order = unsafe { counted_memcmp(a.as_ptr(), b.as_ptr(), len) };
                let expected = a[..len].cmp(&b[..len]);
                assert_eq!(order.cmp(&0), expected, "{len} bytes, byte {other}");
                assert!(len == 0 || expected != Ordering::Equal);
            }
        }
    }
}
