#ifndef MARQUEE_TESTS_FUZZ_SPOIL_H_
#define MARQUEE_TESTS_FUZZ_SPOIL_H_

// Spoils what a file holds.

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "tests/simulation/random.h"

namespace marquee::fuzz {

// A few bytes, without regard to any meaning.
void SpoilBytes(std::string& bytes, simulation::Random& random);
// Another value for one that stands behind a colon, a comma or a bracket; or a line more, or less.
void SpoilText(std::string& text, simulation::Random& random);

void WriteTo(const std::string& path, std::string_view bytes);
std::string ReadFrom(const std::string& path);

// "accepted", or the code of the refusal.
std::string OutcomeOf(const absl::Status& status);

}  // namespace marquee::fuzz

#endif  // MARQUEE_TESTS_FUZZ_SPOIL_H_
