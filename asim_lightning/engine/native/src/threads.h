// Shares work out over threads: torch's OpenMP threads if library.py found them, otherwise threads made for the call.
//
// torch's threads spin for milliseconds after each operation, waiting for the next one. Threads of another pool would share
// the cores with them: on two cores a kernel then took up to twice as long.
//
// Threads take shares from an atomic counter until none is left, so a core that another process slows takes fewer. A share
// is half of a thread's equal part of the remaining work, and at least 1/64 of its equal part of all work: there are few
// shares, and the last ones are small.
//
// Constraints: work writes disjoint results and throws nothing. Pass either 1 thread or torch.get_num_threads(): OpenMP ends
// and starts threads when the size of its team changes.
#pragma once

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

// Declares a function of the C interface; only these are visible outside of the library.
#define ASIM_EXPORT extern "C" __attribute__((visibility("default")))

namespace asim {

// GOMP_parallel: calls body(data) on so many threads at once. Null: there is none, or the process is a fork.
using ParallelEntry = void (*)(void (*body)(void*), void* data, unsigned threads, unsigned flags);
inline std::atomic<ParallelEntry> parallel_entry{nullptr};

// Bytes that the system refused to this thread (Scratch in memory.h), or 0. Code that allocates checks it before it uses the
// memory, and functions of the C interface return it.
inline thread_local int64_t refused_bytes = 0;

// Ranges that together cover 0..units-1 once.
class Shares {
  public:
    Shares(int64_t units, int64_t threads)
        : units_(units), threads_(threads), smallest_(std::max<int64_t>(1, units / (threads * 64))) {}

    // Take the next range low..high-1; false if none is left.
    bool next(int64_t& low, int64_t& high) {
        low = taken_.load(std::memory_order_relaxed);
        do {
            if (low >= units_) return false;
            high = std::min(units_, low + std::max(smallest_, (units_ - low) / (threads_ * 2)));
        } while (!taken_.compare_exchange_weak(low, high, std::memory_order_relaxed));
        return true;
    }

  private:
    const int64_t units_, threads_, smallest_;
    alignas(64) std::atomic<int64_t> taken_{0};
};

// Call work(shares) on each thread; it allocates its scratch, then works while shares.next(low, high). If the system refused
// memory to any thread, the caller's refused_bytes says so.
template <class Work> void parallel_for(int64_t units, int threads, Work work) {
    const int workers = static_cast<int>(std::min<int64_t>(threads, units));
    struct Call {
        Work& work;
        Shares shares;
        std::atomic<int64_t> refused{0};
        static void run(void* data) {
            Call& call = *static_cast<Call*>(data);
            refused_bytes = 0;
            call.work(call.shares);
            if (refused_bytes) call.refused.store(refused_bytes);
        }
        static void* start(void* data) { return run(data), nullptr; }
    } call{work, Shares(units, std::max(workers, 1))};
    const ParallelEntry parallel = workers > 1 ? parallel_entry.load() : nullptr;
    constexpr int MOST = 255;
    pthread_t others[MOST];
    int started = 0;  // if the system gives fewer threads, these do all the work
    if (parallel) parallel(Call::run, &call, threads, 0);
    else {
        while (started < std::min(workers - 1, MOST) && !pthread_create(&others[started], nullptr, Call::start, &call)) ++started;
        Call::run(&call);
        for (int i = 0; i < started; ++i) pthread_join(others[i], nullptr);
    }
    refused_bytes = call.refused.load();
}

// Call work(unit) for each unit of a thread's shares; for no unit once the system has refused memory to the thread.
template <class Work> void for_units(Shares& shares, Work work) {
    if (refused_bytes) return;
    for (int64_t low, high; shares.next(low, high);)
        for (int64_t unit = low; unit < high; ++unit) work(unit);
}

// Call work(unit) for each unit, on threads that need no scratch.
template <class Work> void parallel_units(int64_t units, int threads, Work work) {
    parallel_for(units, threads, [&](Shares& shares) { for_units(shares, work); });
}

}  // namespace asim
