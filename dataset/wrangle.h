#ifndef MARQUEE_DATASET_WRANGLE_H_
#define MARQUEE_DATASET_WRANGLE_H_

// From raw files to the tables of a data file: what the program `wrangle` does, apart from its command line. Each function adds
// to the report what it read, joined, left out and why. Pure but for the files that are read.

#include <string>

#include "absl/status/statusor.h"
#include "dataset/dataset.h"
#include "dataset/movies_dataset.h"
#include "dataset/report.h"
#include "dataset/writer.h"

namespace marquee {

// Refuses files of The Movies Dataset beside MovieLens 100K, which numbers its movies otherwise than links.csv.
absl::StatusOr<DataTables> WrangleMovieLens(const std::string& folder, const MoviesDatasetFiles& files, Report& report);

absl::StatusOr<DataTables> WrangleInteractions(const std::string& csv, const std::string& schema, Report& report);

absl::StatusOr<DataTables> WrangleSynthetic(const std::string& shape, Report& report);

// What a data file holds, for people: name, checksum, sizes and columns.
std::string Describe(const Dataset& data);

}  // namespace marquee

#endif  // MARQUEE_DATASET_WRANGLE_H_
