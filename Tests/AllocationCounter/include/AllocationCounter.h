/// Counts the blocks that a thread takes from the heap, in the program that links this: for testing that a loop
/// allocates nothing.
#pragma once

#include <stdbool.h>

/// Whether anything is counted: only with glibc, and not beside a sanitizer, which brings a heap of its own.
bool acIsCounting(void);

/// The blocks that the calling thread has taken, or asked to be resized, since it began.
unsigned long acAllocations(void);
