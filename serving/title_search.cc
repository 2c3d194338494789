#include "serving/title_search.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>

namespace marquee {
namespace {

// Of which a title is right without them: "d'Amélie", "Schindler’s".
constexpr utf8proc_int32_t kApostrophes[] = {'\'', 0x2019, 0x02bc};
constexpr size_t kMaxDecomposed = 32;  // code points of one; Unicode's longest is 18

enum Quality : int { kWhole, kBegins, kWords, kBeginnings };

bool IsWordPart(utf8proc_int32_t code) {
  switch (utf8proc_category(code)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return true;
    default:
      return false;
  }
}

bool IsApostrophe(utf8proc_int32_t code) {
  return std::find(std::begin(kApostrophes), std::end(kApostrophes), code) != std::end(kApostrophes);
}

void Append(utf8proc_int32_t code, std::string& word) {
  std::array<utf8proc_uint8_t, 4> bytes{};
  const utf8proc_ssize_t size = utf8proc_encode_char(code, bytes.data());
  word.append(bytes.begin(), bytes.begin() + size);
}

// "Matrix, The (1999)" as it is said: "the", "matrix", "1999".
std::optional<size_t> ArticleOf(const std::vector<std::string>& words, std::string_view title) {
  const size_t comma = title.rfind(", ");
  if (comma == std::string_view::npos) return std::nullopt;
  const size_t before = SearchWords(title.substr(0, comma)).size();
  const std::vector<std::string> article = SearchWords(title.substr(comma + 2, title.find(" (", comma) - comma - 2));
  const bool is_one = article.size() == 1 && article[0].size() <= 3 && before > 0 && before < words.size();
  return is_one ? std::optional<size_t>(before) : std::nullopt;
}

bool BeginsWith(const std::vector<std::string>& words, size_t from, const std::vector<std::string>& asked) {
  if (from + asked.size() > words.size()) return false;
  for (size_t i = 0; i < asked.size(); ++i) {
    const bool last = i + 1 == asked.size();  // may still be being typed
    if (last ? words[from + i].compare(0, asked[i].size(), asked[i]) != 0 : words[from + i] != asked[i]) return false;
  }
  return true;
}

bool IsYear(const std::string& word) {
  return word.size() == 4 && std::all_of(word.begin(), word.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

std::vector<std::string> SearchWords(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  const auto end_word = [&] {
    if (!word.empty()) words.push_back(std::exchange(word, {}));
  };
  while (!text.empty()) {
    utf8proc_int32_t code = 0;
    const utf8proc_ssize_t size = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                                   static_cast<utf8proc_ssize_t>(text.size()), &code);
    text.remove_prefix(size > 0 ? static_cast<size_t>(size) : 1);
    if (size <= 0) {
      end_word();
      continue;
    }
    std::array<utf8proc_int32_t, kMaxDecomposed> codes{};
    int boundary = 0;
    const auto options =
        static_cast<utf8proc_option_t>(UTF8PROC_COMPAT | UTF8PROC_DECOMPOSE | UTF8PROC_CASEFOLD | UTF8PROC_STRIPMARK);
    const utf8proc_ssize_t count = utf8proc_decompose_char(code, codes.data(), kMaxDecomposed, options, &boundary);
    for (utf8proc_ssize_t i = 0; i < std::min<utf8proc_ssize_t>(count, kMaxDecomposed); ++i) {
      if (IsWordPart(codes[i])) {
        Append(codes[i], word);
      } else if (!IsApostrophe(codes[i])) {
        end_word();
      }
    }
  }
  end_word();
  return words;
}

TitleSearch::TitleSearch(const std::vector<Movie>& movies) {
  for (uint32_t movie = 0; movie < movies.size(); ++movie) {
    std::vector<std::string> words = SearchWords(movies[movie].title);
    for (const std::string& word : words) index_.emplace_back(word, movie);
    if (const std::optional<size_t> article = ArticleOf(words, movies[movie].title); article.has_value()) {
      std::rotate(words.begin(), words.begin() + static_cast<ptrdiff_t>(*article),
                  words.begin() + static_cast<ptrdiff_t>(*article) + 1);
    }
    titles_.push_back(std::move(words));
    ratings_.push_back(movies[movie].ratings);
  }
  std::sort(index_.begin(), index_.end());
}

std::vector<uint32_t> TitleSearch::Beginning(const std::string& word) const {
  auto found = std::partition_point(index_.begin(), index_.end(), [&](const auto& entry) { return entry.first < word; });
  std::vector<uint32_t> movies;
  for (; found != index_.end() && found->first.compare(0, word.size(), word) == 0; ++found) movies.push_back(found->second);
  std::sort(movies.begin(), movies.end());
  movies.erase(std::unique(movies.begin(), movies.end()), movies.end());
  return movies;
}

int TitleSearch::QualityOf(uint32_t movie, const std::vector<std::string>& asked) const {
  const std::vector<std::string>& words = titles_[movie];
  for (const size_t from : {size_t{0}, size_t{1}}) {  // with its article and without
    if (from == 1 && words[0].size() > 3) break;
    if (!BeginsWith(words, from, asked)) continue;
    const size_t rest = words.size() - from - asked.size();
    const bool whole = words[from + asked.size() - 1] == asked.back();
    if (whole && (rest == 0 || (rest == 1 && IsYear(words.back())))) return kWhole;
    return kBegins;
  }
  const auto holds = [&](const std::string& word) { return std::find(words.begin(), words.end(), word) != words.end(); };
  return std::all_of(asked.begin(), asked.end(), holds) ? kWords : kBeginnings;
}

std::vector<uint32_t> TitleSearch::Find(std::string_view text, size_t count) const {
  const std::vector<std::string> asked = SearchWords(text);
  if (asked.empty()) return {};
  std::vector<uint32_t> found = Beginning(asked[0]);
  for (size_t i = 1; i < asked.size() && !found.empty(); ++i) {
    const std::vector<uint32_t> also = Beginning(asked[i]);
    std::vector<uint32_t> both;
    std::set_intersection(found.begin(), found.end(), also.begin(), also.end(), std::back_inserter(both));
    found = std::move(both);
  }
  std::vector<std::pair<int, uint32_t>> ranked;
  for (const uint32_t movie : found) ranked.emplace_back(QualityOf(movie, asked), movie);
  std::sort(ranked.begin(), ranked.end(), [&](const auto& a, const auto& b) {
    if (a.first != b.first) return a.first < b.first;
    return ratings_[a.second] != ratings_[b.second] ? ratings_[a.second] > ratings_[b.second] : a.second < b.second;
  });
  if (ranked.size() > count) ranked.resize(count);
  found.clear();
  for (const auto& [quality, movie] : ranked) found.push_back(movie);
  return found;
}

}  // namespace marquee
