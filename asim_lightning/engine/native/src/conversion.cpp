// The C interface of conversions: the form of weights, and every conversion of a product.
#include "conversion.h"

#include <algorithm>
#include <type_traits>

#include "count_popcount.h"
#include "count_real.h"

namespace {

constexpr int64_t MOST_OTHERS = 64;   // most units of the other side at a time: a thread holds their sums in 256 kB

// Call use(counting) with a null pointer to the job's class of counting.
template <class Use> void with_counting(const ConversionJob& job, Use use) {
#if defined(__AVX512VBMI__) && defined(__AVX512VNNI__)
    if (job.counting == REAL_COUNTS) return use(static_cast<CountReal*>(nullptr));
#endif
#if defined(__AVX2__)
    if (job.counting == LOOK_UPS) return use(static_cast<CountLookUps*>(nullptr));
#endif
    use(static_cast<CountPopcount*>(nullptr));
}

// Whether a way of counting makes a form of the weights, not of the inputs.
template <class Counting> bool forms_weights(const ConversionJob& job) {
    return bool(job.inputs_in_lanes) == Counting::LANES_IN_TURN;
}

template <class Counting> void convert(const ConversionJob& job) {
    const bool of_weights = forms_weights<Counting>(job);
    const Side &formed = of_weights ? job.weights : job.inputs, &turned = of_weights ? job.inputs : job.weights;
    const uint32_t* form = of_weights ? job.weight_form : nullptr;
    Scratch<uint32_t> own(form ? 0 : Counting::form_size(job));
    DrivenRows driven(job);
    if (!form) {
        const Operand operand(formed, job.tiles, job.tile_count, job.threads);
        if (asim::refused_bytes) return;
        Counting::make_form(job, operand, own.data());
        form = own.data();
        if (!of_weights) driven.count(operand);
    }
    const Operand operand(turned, job.tiles, job.tile_count, job.threads, of_weights ? nullptr : job.weight_form);
    if (asim::refused_bytes) return;
    if (of_weights) driven.count(operand);
    using Work = Conversion<Counting>;
    const int64_t turns = Work::turns(job), others = Work::others(job), units = turned.problems * turns;
    // parts of the other side: several shares for each thread, and no more sums than MOST_OTHERS units have
    const int64_t wanted = job.threads > 1 ? ceil_div(4 * job.threads, units) : 1;
    const int64_t parts = std::min(others, std::max({wanted, ceil_div(others, MOST_OTHERS), int64_t(1)}));
    asim::parallel_for(units * parts, job.threads, [&](asim::Shares& shares) {
        Work work(job, form, operand, driven);
        for_units(shares, [&](int64_t unit) {
            const int64_t part = unit % parts, turn = unit / parts;
            work.run(turn / turns, turn % turns, part * others / parts, (part + 1) * others / parts);
        });
    });
}

}  // namespace

// Whether this library has a way of counting.
ASIM_EXPORT int32_t asim_counts_by(int32_t counting) {
#if defined(__AVX512VBMI__) && defined(__AVX512VNNI__)
    if (counting == REAL_COUNTS) return 1;
#endif
#if defined(__AVX2__)
    if (counting == LOOK_UPS) return 1;
#endif
    return counting == POPCOUNT;
}

// Find the words of the form of a job's weights, and make the form if `weight_form` is not null.
ASIM_EXPORT void asim_weight_form(ConversionJob* job) {
    asim::refused_bytes = 0;
    with_counting(*job, [&](auto* counting) {
        using Counting = std::remove_pointer_t<decltype(counting)>;
        const bool forms = forms_weights<Counting>(*job);
        job->form_words = forms ? Counting::form_size(*job) : Operand::size_of(job->weights, job->tiles, job->tile_count);
        if (!job->weight_form || asim::refused_bytes) return;
        const Operand operand(job->weights, job->tiles, job->tile_count, job->threads);
        if (asim::refused_bytes) return;
        if (forms) Counting::make_form(*job, operand, job->weight_form);
        else std::memcpy(job->weight_form, operand.quads(), job->form_words * sizeof(uint32_t));
    });
    job->refused = asim::refused_bytes;
}

// Whether the processor has an instruction that counts the ones of words.
ASIM_EXPORT int32_t asim_has_popcount() { return Popcount::MOST > 31; }

// Make every conversion.
ASIM_EXPORT void asim_convert(ConversionJob* job) {
    asim::refused_bytes = 0;
    with_counting(*job, [&](auto* counting) { convert<std::remove_pointer_t<decltype(counting)>>(*job); });
    job->refused = asim::refused_bytes;
}

// Fill the flags of Converters::quiet.
ASIM_EXPORT void asim_quiet_converters(const ConversionJob* job) { find_quiet(*job, job->converters.quiet); }
