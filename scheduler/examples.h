#ifndef MARQUEE_SCHEDULER_EXAMPLES_H_
#define MARQUEE_SCHEDULER_EXAMPLES_H_

// What a kept model recommends to a few users, for the report. This program knows no models: it asks `marquee recommend`, which
// is a program beside it.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "dataset/dataset.h"

namespace marquee {

struct ExampleUser {
  struct Movie {
    std::string title;
    std::string genres;   // "Comedy, Drama"; may be empty
    std::string says;     // what the model says of it: "predicted 4.1"
    std::string because;  // "Alien (1979), Aliens (1986)"; may be empty
  };
  std::string user;
  uint64_t rated = 0;
  std::string best_liked;  // "Alien (1979), Aliens (1986)"
  std::vector<Movie> movies;
};

struct Examples {
  std::string trial;
  std::vector<ExampleUser> users;
};

// Three users: one with few ratings, one with a middling number, one with many (the 10th, 50th and 90th percentile). Their
// keys.
std::vector<std::string> ExampleUsers(const Dataset& data);

// `model` is a kept model's folder, `log` a file for what the program says besides. An error says what went wrong.
absl::StatusOr<Examples> AskForExamples(const std::string& trial, const std::string& model, const std::string& data_file,
                                        const std::vector<std::string>& users, const std::string& log);

// Of the program's JSON. InvalidArgument for text that is none.
absl::StatusOr<std::vector<ExampleUser>> ParseExamples(const std::string& json);

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_EXAMPLES_H_
