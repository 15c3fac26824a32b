// Scratch memory, aligned to cache lines, and the division of numbers into units.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include "threads.h"

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

// Elements of a plain type, zeros at first, at a multiple of 64 bytes. If the system refuses memory, there are no elements,
// and `refused_bytes` is set.
template <class T> class Scratch {
    void* block_ = nullptr;
    T* data_ = nullptr;
    int64_t size_ = 0;
public:
    explicit Scratch(int64_t size = 0) { resize(size); }
    // Hold at least so many elements. If the size grows, all elements are zeros again.
    void resize(int64_t size) {
        if (size <= size_) return;
        std::free(block_);
        const int64_t bytes = size * int64_t(sizeof(T)) + 64;
        block_ = std::calloc(bytes, 1);
        if (!block_) asim::refused_bytes = bytes;
        data_ = block_ ? reinterpret_cast<T*>(round_up(reinterpret_cast<int64_t>(block_), 64)) : nullptr;
        size_ = block_ ? size : 0;
    }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    ~Scratch() { std::free(block_); }
    T* data() { return data_; }
    const T* data() const { return data_; }
    T& operator[](int64_t i) { return data_[i]; }
    const T& operator[](int64_t i) const { return data_[i]; }
};
