#ifndef MARQUEE_DATASET_MOVIELENS_LABELS_H_
#define MARQUEE_DATASET_MOVIELENS_LABELS_H_

// The class labels of MovieLens tables, in the order that gives them their numbers: those of TensorFlow Datasets, which are the
// same for every edition of MovieLens. movie_genres and user_occupation_label hold indices into these lists.

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace marquee {

inline constexpr std::array<std::string_view, 21> kGenreLabels = {
    "Action",  "Adventure", "Animation", "Children", "Comedy", "Crime",   "Documentary",
    "Drama",   "Fantasy",   "Film-Noir", "Horror",   "IMAX",   "Musical", "Mystery",
    "Romance", "Sci-Fi",    "Thriller",  "Unknown",  "War",    "Western", "(no genres listed)"};

inline constexpr std::array<std::string_view, 22> kOccupationLabels = {"academic/educator",
                                                                       "artist",
                                                                       "clerical/admin",
                                                                       "customer service",
                                                                       "doctor/health care",
                                                                       "entertainment",
                                                                       "executive/managerial",
                                                                       "farmer",
                                                                       "homemaker",
                                                                       "lawyer",
                                                                       "librarian",
                                                                       "other/not specified",
                                                                       "programmer",
                                                                       "retired",
                                                                       "sales/marketing",
                                                                       "scientist",
                                                                       "self-employed",
                                                                       "student",
                                                                       "technician/engineer",
                                                                       "tradesman/craftsman",
                                                                       "unemployed",
                                                                       "writer"};

// The occupations of users.dat in MovieLens 1M, by the code that the file uses.
inline constexpr std::array<std::string_view, 21> kOccupationTexts1M = {"other/not specified",
                                                                        "academic/educator",
                                                                        "artist",
                                                                        "clerical/admin",
                                                                        "college/grad student",
                                                                        "customer service",
                                                                        "doctor/health care",
                                                                        "executive/managerial",
                                                                        "farmer",
                                                                        "homemaker",
                                                                        "K-12 student",
                                                                        "lawyer",
                                                                        "programmer",
                                                                        "retired",
                                                                        "sales/marketing",
                                                                        "scientist",
                                                                        "self-employed",
                                                                        "technician/engineer",
                                                                        "tradesman/craftsman",
                                                                        "unemployed",
                                                                        "writer"};

// The ages of MovieLens 1M: the lower bounds of its groups, 1 for "under 18".
inline constexpr std::array<int, 7> kAgeBuckets = {1, 18, 25, 35, 45, 50, 56};

// The group that an age in years falls in.
int AgeBucket(int age);

// The index of a genre as any edition spells it ("Children's" and "Children", "unknown" and "Unknown"); nullopt if unknown.
std::optional<uint32_t> GenreLabel(std::string_view genre);

// The index of the label that an occupation's text of any edition belongs to: both kinds of student are "student", the
// "administrator" of 100K is "clerical/admin". nullopt if unknown.
std::optional<uint32_t> OccupationLabel(std::string_view text);

}  // namespace marquee

#endif  // MARQUEE_DATASET_MOVIELENS_LABELS_H_
