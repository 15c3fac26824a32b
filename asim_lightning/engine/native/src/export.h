// What a function of the C interface is declared with: it alone is visible outside of the library.
#pragma once
#include <cstdint>

#define ASIM_EXPORT extern "C" __attribute__((visibility("default")))
