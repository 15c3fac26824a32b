// What a function of the C interface is declared with: it alone is visible outside of the library.
#pragma once
#include <cstdint>

#define ASIM_EXPORT extern "C" __attribute__((visibility("default")))

// Whether the processor and the system have AMX's registers for this process (processor.cpp).
bool processor_has_amx();
