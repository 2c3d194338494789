#include "dataset/synthetic.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "dataset/movielens_columns.h"
#include "dataset/movielens_labels.h"
#include "dataset/permutation.h"
#include "dataset/random.h"

namespace marquee {
namespace {

constexpr size_t kTastes = 8;
using Tastes = std::array<float, kTastes>;

// How much the match of tastes counts in what is chosen and in how it is rated, and the spreads of the rest. Set so that the
// figures of baselines come close to those of MovieLens 1M.
constexpr float kChoiceWeight = 1.3F;
constexpr double kRatingWeight = 0.6;
constexpr double kUserBias = 0.44;
constexpr double kMovieBias = 0.54;
constexpr double kNoise = 0.8;
constexpr double kMeanRating = 3.64;
constexpr double kPopularitySpread = 1.5;  // standard deviation of its logarithm
constexpr double kActivitySpread = 1.15;
constexpr double kPopularityOfQuality = 0.5;  // correlation of a movie's bias with its popularity
constexpr double kMaxShareOfMovies = 0.62;    // that one user rates

constexpr int64_t kLastTimestamp = 1046454590;

// Shares of MovieLens 1M.
constexpr std::array<double, 7> kAgeShares = {.037, .183, .347, .198, .091, .082, .062};
constexpr std::array<double, 21> kOccupationShares = {.118, .087, .044, .029, .126, .019, .039, .112, .003, .015, .032,
                                                      .021, .064, .024, .05,  .024, .04,  .083, .012, .012, .046};
constexpr double kMaleShare = 0.717;

struct GenreShare {
  std::string_view genre;
  double share;
};
constexpr std::array<GenreShare, 18> kGenreShares = {{{"Drama", 1603},
                                                      {"Comedy", 1200},
                                                      {"Action", 503},
                                                      {"Thriller", 492},
                                                      {"Romance", 471},
                                                      {"Horror", 343},
                                                      {"Adventure", 283},
                                                      {"Sci-Fi", 276},
                                                      {"Children", 251},
                                                      {"Crime", 211},
                                                      {"War", 143},
                                                      {"Documentary", 127},
                                                      {"Musical", 114},
                                                      {"Mystery", 106},
                                                      {"Animation", 105},
                                                      {"Fantasy", 68},
                                                      {"Western", 68},
                                                      {"Film-Noir", 44}}};
constexpr std::array<double, 3> kGenresPerMovie = {.53, .34, .13};

constexpr std::array<std::string_view, 48> kFirstNames = {
    "Ada",  "Bruno", "Celia", "Dario", "Edda",  "Fabio",  "Greta", "Hugo",  "Ines",  "Jonas", "Katia", "Leo",
    "Mara", "Nils",  "Olga",  "Paolo", "Quinn", "Rosa",   "Silas", "Tilda", "Ugo",   "Vera",  "Wanda", "Xavier",
    "Yara", "Zeno",  "Alma",  "Boris", "Clara", "Dorian", "Elsa",  "Felix", "Gilda", "Hanna", "Ivo",   "Juno",
    "Kurt", "Lotte", "Milo",  "Nadia", "Oskar", "Petra",  "Remo",  "Sonia", "Tomas", "Ulla",  "Viggo", "Willa"};
constexpr std::array<std::string_view, 64> kLastNames = {
    "Abbot",     "Bellwood", "Carrow",   "Dunmore", "Eastlake", "Fenwick",  "Garland",  "Hartwell", "Ingram",  "Jessop",
    "Kestrel",   "Larkin",   "Marlow",   "Norwood", "Oakes",    "Penrose",  "Quill",    "Ravenel",  "Selwyn",  "Thornby",
    "Underhill", "Vance",    "Whitlow",  "Yardley", "Zeller",   "Ashdown",  "Birch",    "Calder",   "Drake",   "Elmsley",
    "Farrow",    "Gable",    "Holloway", "Ivers",   "Jarrow",   "Kirkwall", "Lockhart", "Merrick",  "Nettle",  "Orchard",
    "Pryor",     "Quayle",   "Rook",     "Sable",   "Tolland",  "Upton",    "Verity",   "Wexford",  "Yarrow",  "Alder",
    "Bracken",   "Cobb",     "Dallow",   "Everly",  "Frost",    "Grange",   "Hale",     "Isley",    "Juniper", "Keel",
    "Linden",    "Moss",     "North",    "Oriel"};
constexpr std::array<std::string_view, 64> kTitleAdjectives = {
    "Silent",   "Crimson",  "Last",      "Hidden",  "Golden",  "Broken", "Distant",   "Midnight", "Electric", "Frozen",
    "Burning",  "Endless",  "Secret",    "Lonely",  "Wild",    "Paper",  "Hollow",    "Scarlet",  "Quiet",    "Restless",
    "Velvet",   "Iron",     "Lost",      "Bright",  "Foreign", "Gentle", "Savage",    "Painted",  "Second",   "Seventh",
    "Sleeping", "Stolen",   "Summer",    "Tender",  "Twisted", "Unseen", "Wandering", "Winter",   "Young",    "Ancient",
    "Bitter",   "Borrowed", "Clever",    "Dancing", "Double",  "Early",  "Fallen",    "Final",    "Glass",    "Grand",
    "Happy",    "Honest",   "Invisible", "Jagged",  "Little",  "Lucky",  "Marble",    "Naked",    "Open",     "Perfect",
    "Rainy",    "Reckless", "Sacred",    "Shallow"};
constexpr std::array<std::string_view, 64> kTitleNouns = {
    "Harbour", "Garden",  "Letter",  "Mirror",   "River",  "Station", "Summer",  "Promise",  "Island",    "Stranger", "Voyage",
    "Orchard", "Window",  "Bridge",  "Castle",   "Circus", "Comet",   "Country", "Dancer",   "Detective", "Dream",    "Engine",
    "Evening", "Family",  "Fortune", "Frontier", "Game",   "Ghost",   "Heart",   "Highway",  "Horizon",   "Hotel",    "Hunter",
    "Journey", "Kingdom", "Lantern", "Machine",  "Market", "Melody",  "Memory",  "Mountain", "Neighbour", "Night",    "Ocean",
    "Passage", "Picture", "Pilot",   "Portrait", "Prince", "Queen",   "Road",    "Robbery",  "Season",    "Secret",   "Shadow",
    "Sister",  "Soldier", "Song",    "Storm",    "Street", "Theatre", "Train",   "Valley",   "Witness"};

Tastes RandomTastes(Random& random) {
  Tastes tastes;
  for (float& taste : tastes) taste = static_cast<float>(random.Normal());
  return tastes;
}

void AddScaled(const Tastes& from, double scale, Tastes& to) {
  for (size_t k = 0; k < kTastes; ++k) to[k] += static_cast<float>(scale) * from[k];
}

void ScaleToLength(double length, Tastes& tastes) {
  double squares = 0;
  for (const float taste : tastes) squares += static_cast<double>(taste) * taste;
  for (float& taste : tastes) taste *= static_cast<float>(length / std::sqrt(squares));
}

double Match(const Tastes& a, const Tastes& b) {
  double sum = 0;
  for (size_t k = 0; k < kTastes; ++k) sum += static_cast<double>(a[k]) * b[k];
  return sum;
}

// People with a name and tastes each, of whom a few have made most movies.
class People {
 public:
  People(size_t count, uint64_t seed, Random& random) {
    const Permutation names(kFirstNames.size() * kLastNames.size(), seed);
    for (size_t i = 0; i < count; ++i) {
      const uint64_t name = names.At(i % names.size());
      names_.push_back(fmt::format("{} {}", kFirstNames[name % kFirstNames.size()], kLastNames[name / kFirstNames.size()]));
      tastes_.push_back(RandomTastes(random));
    }
  }

  size_t Choose(Random& random) const {
    const double uniform = random.Uniform();
    return static_cast<size_t>(uniform * uniform * static_cast<double>(names_.size()));
  }
  const std::string& name(size_t person) const { return names_[person]; }
  const Tastes& tastes(size_t person) const { return tastes_[person]; }

 private:
  std::vector<std::string> names_;
  std::vector<Tastes> tastes_;
};

class Generator {
 public:
  explicit Generator(const SyntheticShape& shape) : shape_(shape), random_(shape.seed) {}

  DataTables Make() {
    MakeMovies();
    MakeUsers();
    CountRatings();
    ChooseMovies();
    RateEveryMovie();
    Rate();
    DataTables tables = MovieLensTables("synthetic " + shape_.name, users_, movies_, ratings_);
    tables.synthetic = true;
    return tables;
  }

 private:
  void MakeMovies();
  std::vector<uint32_t> ChooseGenres();
  std::optional<int64_t> ChooseReleaseDate(int year);
  void MakeUsers();
  void CountRatings();
  void ChooseMovies();
  std::vector<uint32_t> ChooseMoviesOf(uint32_t user);
  void RateEveryMovie();
  void Rate();
  int64_t ChooseFirstTimestamp();
  int64_t NextTimestamp(int64_t timestamp);

  const SyntheticShape& shape_;
  Random random_;
  std::vector<MovieLensUser> users_;
  std::vector<MovieLensMovie> movies_;
  std::vector<MovieLensRating> ratings_;
  std::vector<Tastes> user_tastes_;
  std::vector<Tastes> movie_tastes_;
  std::vector<double> movie_bias_;
  std::vector<float> log_popularity_;
  std::vector<uint32_t> counts_;                // ratings of each user
  std::vector<std::vector<uint32_t>> choices_;  // movies of each user
};

std::vector<uint32_t> Generator::ChooseGenres() {
  std::array<double, kGenreShares.size()> weights;
  for (size_t i = 0; i < weights.size(); ++i) weights[i] = kGenreShares[i].share;
  std::vector<uint32_t> genres;
  const size_t count = 1 + random_.Choose(kGenresPerMovie);
  while (genres.size() < count) {
    const size_t chosen = random_.Choose(weights);
    weights[chosen] = 0;
    genres.push_back(*GenreLabel(kGenreShares[chosen].genre));
  }
  std::sort(genres.begin(), genres.end());
  return genres;
}

std::optional<int64_t> Generator::ChooseReleaseDate(int year) {
  constexpr double kSecondsPerYear = 31556952;
  if (random_.Uniform() < 0.01) return std::nullopt;
  const double days = std::floor((year - 1970 + random_.Uniform()) * kSecondsPerYear / 86400);
  return static_cast<int64_t>(days) * 86400;
}

void Generator::MakeMovies() {
  const People directors(1 + shape_.movies * 9 / 20, shape_.seed + 1, random_);
  const People stars(1 + shape_.movies * 2 / 5, shape_.seed + 2, random_);
  std::array<Tastes, kGenreLabels.size()> genre_tastes;
  for (Tastes& tastes : genre_tastes) tastes = RandomTastes(random_);
  const Permutation titles(kTitleAdjectives.size() * kTitleNouns.size(), shape_.seed + 3);
  for (uint32_t i = 0; i < shape_.movies; ++i) {
    MovieLensMovie movie;
    Tastes tastes = RandomTastes(random_);
    ScaleToLength(0.6, tastes);
    movie.id = fmt::format("{}", i + 1);
    movie.genres = ChooseGenres();
    for (const uint32_t genre : movie.genres) AddScaled(genre_tastes[genre], 0.25 / std::sqrt(movie.genres.size()), tastes);
    const size_t director = directors.Choose(random_);
    const size_t star = stars.Choose(random_);
    AddScaled(directors.tastes(director), 0.16, tastes);
    AddScaled(stars.tastes(star), 0.12, tastes);
    ScaleToLength(1, tastes);
    if (random_.Uniform() >= 0.01) movie.director = directors.name(director);
    if (random_.Uniform() >= 0.01) movie.star = stars.name(star);
    const int year = 2000 - static_cast<int>(std::min(81.0, random_.Exponential(14)));
    const uint64_t title = titles.At(i % titles.size());
    movie.title = fmt::format("{} {} ({})", kTitleAdjectives[title % kTitleAdjectives.size()],
                              kTitleNouns[title / kTitleAdjectives.size()], year);
    movie.release_date = ChooseReleaseDate(year);

    const double quality = random_.Normal();
    const double fame =
        kPopularityOfQuality * quality + std::sqrt(1 - kPopularityOfQuality * kPopularityOfQuality) * random_.Normal();
    movie_bias_.push_back(kMovieBias * quality);
    log_popularity_.push_back(static_cast<float>(kPopularitySpread * fame));
    movie_tastes_.push_back(tastes);
    movies_.push_back(std::move(movie));
  }
}

void Generator::MakeUsers() {
  std::array<Tastes, 2> gender_tastes;
  std::array<Tastes, kAgeShares.size()> age_tastes;
  std::array<Tastes, kOccupationShares.size()> occupation_tastes;
  for (Tastes& tastes : gender_tastes) tastes = RandomTastes(random_);
  for (Tastes& tastes : age_tastes) tastes = RandomTastes(random_);
  for (Tastes& tastes : occupation_tastes) tastes = RandomTastes(random_);
  const Permutation zip_codes(100000, shape_.seed + 4);
  const uint64_t zip_pool = shape_.users;
  for (uint32_t i = 0; i < shape_.users; ++i) {
    MovieLensUser user;
    const size_t age = random_.Choose(kAgeShares);
    const size_t occupation = random_.Choose(kOccupationShares);
    user.id = fmt::format("{}", i + 1);
    user.bucketized_age = kAgeBuckets[age];
    user.male = random_.Uniform() < kMaleShare;
    user.occupation = std::string(kOccupationTexts1M[occupation]);
    user.occupation_label = *OccupationLabel(user.occupation);
    user.zip_code = fmt::format("{:05}", zip_codes.At(random_.Below(zip_pool) % zip_codes.size()));

    Tastes tastes = RandomTastes(random_);
    AddScaled(gender_tastes[user.male ? 1 : 0], 0.4, tastes);
    AddScaled(age_tastes[age], 0.5, tastes);
    AddScaled(occupation_tastes[occupation], 0.3, tastes);
    ScaleToLength(std::sqrt(kTastes), tastes);  // so that a match has a standard deviation of 1
    user_tastes_.push_back(tastes);
    users_.push_back(std::move(user));
  }
}

void Generator::CountRatings() {
  std::vector<double> activity(shape_.users);
  double total = 0;
  for (double& value : activity) total += value = std::exp(kActivitySpread * random_.Normal());
  const uint64_t minimum = shape_.min_ratings_per_user;
  const auto most = std::max(minimum + 1, static_cast<uint64_t>(kMaxShareOfMovies * shape_.movies));
  const auto to_spread = static_cast<double>(shape_.ratings - minimum * shape_.users);
  uint64_t sum = 0;
  for (const double value : activity) {
    const uint64_t count = std::min(most, minimum + static_cast<uint64_t>(to_spread * value / total));
    counts_.push_back(static_cast<uint32_t>(count));
    sum += count;
  }
  // What rounding and the upper bound left over: one more for each user in turn.
  for (size_t user = 0; sum < shape_.ratings; user = (user + 1) % counts_.size()) {
    if (counts_[user] >= most) continue;
    ++counts_[user];
    ++sum;
  }
}

std::vector<uint32_t> Generator::ChooseMoviesOf(uint32_t user) {
  // The largest keys of log(weight) + Gumbel noise are a draw by weight without repetition.
  std::vector<std::pair<float, uint32_t>> keys(shape_.movies);
  for (uint32_t movie = 0; movie < shape_.movies; ++movie) {
    const auto match = static_cast<float>(Match(user_tastes_[user], movie_tastes_[movie]));
    keys[movie] = {log_popularity_[movie] + kChoiceWeight * match + static_cast<float>(random_.Gumbel()), movie};
  }
  const auto end = keys.begin() + counts_[user];
  std::nth_element(keys.begin(), end - 1, keys.end(), std::greater<>());
  std::vector<uint32_t> chosen;
  chosen.reserve(counts_[user]);
  for (auto key = keys.begin(); key != end; ++key) chosen.push_back(key->second);
  std::sort(chosen.begin(), chosen.end());
  random_.Shuffle(chosen);
  return chosen;
}

void Generator::ChooseMovies() {
  choices_.reserve(shape_.users);
  for (uint32_t user = 0; user < shape_.users; ++user) choices_.push_back(ChooseMoviesOf(user));
}

// A movie that nobody chose takes the place of the most chosen one that some user has.
void Generator::RateEveryMovie() {
  std::vector<uint32_t> ratings(shape_.movies, 0);
  for (const std::vector<uint32_t>& chosen : choices_) {
    for (const uint32_t movie : chosen) ++ratings[movie];
  }
  for (uint32_t movie = 0; movie < shape_.movies; ++movie) {
    if (ratings[movie] > 0) continue;
    std::vector<uint32_t>& chosen = choices_[random_.Below(choices_.size())];
    uint32_t& most =
        *std::max_element(chosen.begin(), chosen.end(), [&](uint32_t a, uint32_t b) { return ratings[a] < ratings[b]; });
    --ratings[most];
    ++ratings[movie];
    most = movie;
  }
}

int64_t Generator::ChooseFirstTimestamp() {
  // Quantiles of MovieLens 1M, joined by straight lines.
  constexpr std::array<std::pair<double, double>, 6> kQuantiles = {
      {{0, 956703932}, {.25, 965302637}, {.5, 973018006}, {.75, 975220939}, {.97, 978000000}, {1, 1040000000}}};
  const double uniform = random_.Uniform();
  size_t upper = 1;
  while (kQuantiles[upper].first < uniform) ++upper;
  const auto& [x0, y0] = kQuantiles[upper - 1];
  const auto& [x1, y1] = kQuantiles[upper];
  return static_cast<int64_t>(y0 + (uniform - x0) / (x1 - x0) * (y1 - y0));
}

// Ratings come seconds apart, with a break of days now and then.
int64_t Generator::NextTimestamp(int64_t timestamp) {
  constexpr double kSecondsBetween = 15;
  constexpr double kBreakSeconds = 5 * 86400;
  const double gap = random_.Uniform() < 0.01 ? kBreakSeconds : kSecondsBetween;
  return std::min(kLastTimestamp, timestamp + static_cast<int64_t>(random_.Exponential(gap)));
}

void Generator::Rate() {
  std::vector<double> opinions;
  ratings_.reserve(shape_.ratings);
  opinions.reserve(shape_.ratings);
  for (uint32_t user = 0; user < shape_.users; ++user) {
    const double bias = kUserBias * random_.Normal();
    int64_t timestamp = ChooseFirstTimestamp();
    for (const uint32_t movie : choices_[user]) {
      opinions.push_back(bias + movie_bias_[movie] + kRatingWeight * Match(user_tastes_[user], movie_tastes_[movie]) +
                         kNoise * random_.Normal());
      ratings_.push_back({user, movie, 0, timestamp});
      timestamp = NextTimestamp(timestamp);
    }
  }
  // Users choose what they like: centre the opinions on what is chosen, not on what there is.
  const double mean = std::accumulate(opinions.begin(), opinions.end(), 0.0) / static_cast<double>(opinions.size());
  for (size_t i = 0; i < opinions.size(); ++i) {
    ratings_[i].rating = static_cast<float>(std::clamp(std::round(kMeanRating + opinions[i] - mean), 1.0, 5.0));
  }
}

}  // namespace

absl::StatusOr<SyntheticShape> SyntheticShapeOf(std::string_view name) {
  if (name == "ml-1m") return SyntheticShape{"ml-1m", 6040, 3706, 1000209};
  if (name == "small") return SyntheticShape{"small", 600, 400, 40000};
  return absl::InvalidArgumentError(fmt::format("--synthetic: '{}'; must be ml-1m or small", name));
}

absl::StatusOr<DataTables> MakeSynthetic(const SyntheticShape& shape) {
  const uint64_t least = uint64_t{shape.users} * shape.min_ratings_per_user;
  const uint64_t most = uint64_t{shape.users} * shape.movies / 2;
  if (shape.users == 0 || shape.movies == 0 || shape.ratings < std::max<uint64_t>(least, shape.movies) ||
      shape.ratings > most) {
    return absl::InvalidArgumentError(fmt::format("{} ratings for {} users and {} movies; must be {} to {}", shape.ratings,
                                                  shape.users, shape.movies, std::max<uint64_t>(least, shape.movies), most));
  }
  return Generator(shape).Make();
}

}  // namespace marquee
