#ifndef MARQUEE_DATASET_TABLE_CSV_H_
#define MARQUEE_DATASET_TABLE_CSV_H_

// Writes a data file as one table for people: a header, and a line per interaction with every column of the file joined in.

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "dataset/dataset.h"

namespace marquee {

// Null is an empty field. A column of ids is "a|b|c"; one of `as_indices`, such as movie_genres, is the list "[7, 14]" of its
// labels' indices. The file appears whole or not at all.
absl::Status WriteTableCsv(const Dataset& data, const std::vector<std::string>& as_indices, const std::string& path);

}  // namespace marquee

#endif  // MARQUEE_DATASET_TABLE_CSV_H_
