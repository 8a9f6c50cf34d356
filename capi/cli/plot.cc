#include "cli/plot.h"

#include <cairo-svg.h>
#include <cairo.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>

namespace sl::cli {
namespace {

constexpr double kWidth = 1600, kPanelHeight = 330, kGap = 36;
constexpr double kLeft = 120, kRight = 130, kTop = 84, kBottom = 84;
constexpr double kFontSize = 19, kTitleSize = 25;

struct Color {
  double r, g, b, a = 1;
};
constexpr Color kInk{0.15, 0.16, 0.18};
constexpr Color kFaint{0.88, 0.89, 0.90};
constexpr Color kCurve{0.12, 0.36, 0.60};
constexpr Color kShade{0.95, 0.62, 0.18, 0.22};
constexpr Color kThreshold{0.70, 0.20, 0.17};

// A color map of even perceived steps from dark to light, which stays readable in grey.
constexpr std::array<Color, 6> kMap = {{{0.05, 0.03, 0.15},
                                        {0.32, 0.07, 0.43},
                                        {0.61, 0.16, 0.39},
                                        {0.87, 0.32, 0.23},
                                        {0.98, 0.62, 0.15},
                                        {0.99, 0.97, 0.68}}};

struct Range {
  double low = 0, high = 1;
  double of(double value) const { return (value - low) / (high - low); }
};

struct Box {
  double x = 0, y = 0, width = 0, height = 0;
};

Color mapped(double share) {
  if (std::isnan(share)) return kFaint;
  const double at = std::clamp(share, 0.0, 1.0) * static_cast<double>(kMap.size() - 1);
  const auto i = std::min(static_cast<size_t>(at), kMap.size() - 2);
  const double f = at - static_cast<double>(i);
  auto mix = [f](double a, double b) { return a + f * (b - a); };
  return {mix(kMap[i].r, kMap[i + 1].r), mix(kMap[i].g, kMap[i + 1].g),
          mix(kMap[i].b, kMap[i + 1].b)};
}

Range range_of(const Panel& panel) {
  double low = INFINITY, high = -INFINITY;
  for (const double value : panel.values) {
    if (!std::isfinite(value)) continue;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  if (!(low <= high)) low = high = 0;
  if (high - low < 1e-9 * std::max({1e-3, std::fabs(low), std::fabs(high)})) {
    low -= 0.5;
    high += 0.5;
  }
  const double margin = panel.channels == 1 ? 0.05 * (high - low) : 0;
  return {panel.low.value_or(low - margin), panel.high.value_or(high + margin)};
}

// The distance between ticks: 1, 2 or 5 times a power of ten, for about `count` ticks.
double tick_step(Range range, int count) {
  const double rough = (range.high - range.low) / count;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (rough <= factor * power) return factor * power;
  }
  return 10 * power;
}

std::vector<double> ticks(Range range, double step) {
  std::vector<double> out;
  const double slack = 1e-9 * step;
  for (double i = std::ceil((range.low - slack) / step); i * step <= range.high + slack; ++i) {
    out.push_back(i * step);
  }
  return out;
}

std::string tick_text(double value, double step) {
  char text[40];
  if (step >= 1e6 || step < 1e-4) {
    std::snprintf(text, sizeof(text), "%.3g", value);
  } else {
    const int decimals = std::max(0, static_cast<int>(std::ceil(-std::log10(step) - 1e-9)));
    std::snprintf(text, sizeof(text), "%.*f", decimals, value == 0 ? 0.0 : value);
  }
  return text;
}

cairo_status_t write_to(void* file, const unsigned char* data, unsigned int size) {
  static_cast<std::ofstream*>(file)->write(reinterpret_cast<const char*>(data), size);
  return static_cast<std::ofstream*>(file)->good() ? CAIRO_STATUS_SUCCESS
                                                   : CAIRO_STATUS_WRITE_ERROR;
}

// A relocatable installation brings its own font, as the machine may have none.
void use_own_font() {
  std::error_code error;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::filesystem::path config =
      program.parent_path() / "../share/sequence-layers/fonts.conf";
  if (std::filesystem::exists(config, error)) setenv("FONTCONFIG_FILE", config.c_str(), 0);
}

class Canvas {
 public:
  Canvas(const std::string& path, PlotFormat format, double width, double height)
      : path_(path),
        format_(format),
        file_(path, std::ios::binary),
        surface_(format == PlotFormat::kSvg
                     ? cairo_svg_surface_create_for_stream(write_to, &file_, width, height)
                     : cairo_image_surface_create(CAIRO_FORMAT_RGB24, static_cast<int>(width),
                                                  static_cast<int>(height)),
                 cairo_surface_destroy),
        cairo_(cairo_create(surface_.get()), cairo_destroy) {
    color({1, 1, 1});
    cairo_paint(get());
    use_own_font();
    cairo_select_font_face(get(), "DejaVu Sans", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
  }

  cairo_t* get() const { return cairo_.get(); }

  void color(Color c) const { cairo_set_source_rgba(get(), c.r, c.g, c.b, c.a); }

  void fill(const Box& box, Color c) const {
    color(c);
    cairo_rectangle(get(), box.x, box.y, box.width, box.height);
    cairo_fill(get());
  }

  void line(double x0, double y0, double x1, double y1, Color c, double width) const {
    color(c);
    cairo_set_line_width(get(), width);
    cairo_move_to(get(), x0, y0);
    cairo_line_to(get(), x1, y1);
    cairo_stroke(get());
  }

  // (x, y) is the anchor: the point of the text's box at these shares of its width and height.
  void text(const std::string& words, double x, double y, double share_x, double share_y,
            double size = kFontSize, bool upright = false) const {
    color(kInk);
    cairo_set_font_size(get(), size);
    cairo_text_extents_t box;
    cairo_text_extents(get(), words.c_str(), &box);
    cairo_font_extents_t font;
    cairo_font_extents(get(), &font);
    cairo_save(get());
    cairo_translate(get(), x, y);
    if (upright) cairo_rotate(get(), -M_PI / 2);
    cairo_move_to(get(), -share_x * box.x_advance,
                  font.ascent - share_y * (font.ascent + font.descent));
    cairo_show_text(get(), words.c_str());
    cairo_restore(get());
  }

  void save() {
    cairo_status_t status = cairo_status(get());
    if (status == CAIRO_STATUS_SUCCESS && format_ == PlotFormat::kPng) {
      status = cairo_surface_write_to_png_stream(surface_.get(), write_to, &file_);
    }
    cairo_surface_finish(surface_.get());
    if (status == CAIRO_STATUS_SUCCESS) status = cairo_surface_status(surface_.get());
    if (status == CAIRO_STATUS_SUCCESS && !file_.flush()) status = CAIRO_STATUS_WRITE_ERROR;
    if (status != CAIRO_STATUS_SUCCESS) {
      throw std::runtime_error("cannot write " + path_ + ": " + cairo_status_to_string(status));
    }
  }

 private:
  std::string path_;
  PlotFormat format_;
  std::ofstream file_;  // must outlive the surface that writes to it
  std::unique_ptr<cairo_surface_t, void (*)(cairo_surface_t*)> surface_;
  std::unique_ptr<cairo_t, void (*)(cairo_t*)> cairo_;
};

// If there are more values than pixels, every pixel column spans its minimum and maximum, so that
// no peak is lost. If there are fewer, they are joined by a line.
void draw_curve(const Canvas& canvas, const Panel& panel, const Box& box, Range x, Range y) {
  cairo_t* cr = canvas.get();
  cairo_save(cr);
  cairo_rectangle(cr, box.x, box.y, box.width, box.height);
  cairo_clip(cr);
  canvas.color(kCurve);
  const int64_t n = panel.time();
  const auto per_pixel = static_cast<double>(n) / box.width;
  auto px = [&](double i) { return box.x + box.width * x.of(i * panel.step); };
  auto py = [&](double value) { return box.y + box.height * (1 - y.of(value)); };
  const bool dense = per_pixel > 2;
  cairo_set_line_width(cr, dense ? 1.2 : 2.2);
  cairo_set_line_join(cr, CAIRO_LINE_JOIN_ROUND);
  const int64_t stride = dense ? static_cast<int64_t>(per_pixel) : 1;
  bool pen_down = false;
  for (int64_t i = 0; i < n; i += stride) {
    const auto first = panel.values.begin() + i;
    const auto [low, high] = std::minmax_element(first, first + std::min(stride, n - i));
    if (!std::isfinite(*low) || !std::isfinite(*high)) {
      pen_down = false;
      continue;
    }
    // A value holds for its whole step and is drawn at the middle of it.
    const double at = px(static_cast<double>(i) + 0.5 * static_cast<double>(stride));
    if (pen_down) {
      cairo_line_to(cr, at, py(*low));
    } else {
      cairo_move_to(cr, at, py(*low));
    }
    if (dense) cairo_line_to(cr, at, py(*high));
    pen_down = true;
  }
  cairo_stroke(cr);
  cairo_restore(cr);
}

void draw_heat_map(const Canvas& canvas, const Panel& panel, const Box& box, Range x, Range y) {
  const auto columns = static_cast<int>(box.width);
  const auto rows = static_cast<int>(box.height);
  cairo_surface_t* image = cairo_image_surface_create(CAIRO_FORMAT_RGB24, columns, rows);
  cairo_surface_flush(image);
  unsigned char* data = cairo_image_surface_get_data(image);
  const int stride = cairo_image_surface_get_stride(image);
  for (int row = 0; row < rows; ++row) {
    auto* pixels = reinterpret_cast<uint32_t*>(data + row * stride);
    const int64_t channel = (rows - 1 - row) * panel.channels / rows;
    for (int column = 0; column < columns; ++column) {
      const double time = x.low + (column + 0.5) / columns * (x.high - x.low);
      const auto t = static_cast<int64_t>(time / panel.step);
      const bool inside = t < panel.time();
      const Color c =
          !inside ? Color{1, 1, 1}
                  : mapped(y.of(panel.values[static_cast<size_t>(t * panel.channels + channel)]));
      auto byte = [](double v) { return static_cast<uint32_t>(std::lround(255 * v)); };
      pixels[column] = byte(c.r) << 16 | byte(c.g) << 8 | byte(c.b);
    }
  }
  cairo_surface_mark_dirty(image);
  cairo_set_source_surface(canvas.get(), image, box.x, box.y);
  cairo_paint(canvas.get());
  cairo_surface_destroy(image);
}

void draw_color_bar(const Canvas& canvas, const Box& box, Range values) {
  const Box bar{box.x + box.width + 22, box.y, 20, box.height};
  for (double row = 0; row < bar.height; ++row) {
    canvas.fill({bar.x, bar.y + row, bar.width, 1.5}, mapped(1 - row / bar.height));
  }
  const double step = tick_step(values, 4);
  for (const double tick : ticks(values, step)) {
    const double y = bar.y + bar.height * (1 - values.of(tick));
    canvas.line(bar.x + bar.width, y, bar.x + bar.width + 6, y, kInk, 1.2);
    canvas.text(tick_text(tick, step), bar.x + bar.width + 11, y, 0, 0.5, kFontSize - 2);
  }
}

void draw_value_axis(const Canvas& canvas, const Panel& panel, const Box& box, Range y) {
  const bool curve = panel.channels == 1;
  const Range axis = curve ? y : Range{0, static_cast<double>(panel.channels)};
  double step = tick_step(axis, 6);
  if (!curve) step = std::max(1.0, step);
  for (const double tick : ticks(axis, step)) {
    // Channels are labelled at the middle of their row.
    const double at = curve ? tick : tick + 0.5;
    if (!curve && at > axis.high) continue;
    const double py = box.y + box.height * (1 - axis.of(at));
    if (curve) canvas.line(box.x, py, box.x + box.width, py, kFaint, 1);
    canvas.line(box.x - 6, py, box.x, py, kInk, 1.2);
    canvas.text(tick_text(tick, step), box.x - 12, py, 1, 0.5);
  }
  canvas.text(panel.label, box.x - 104, box.y + box.height / 2, 0.5, 0, kFontSize, true);
}

void draw_panel(const Canvas& canvas, const Plot& plot, const Panel& panel, const Box& box,
                Range x) {
  const Range y = range_of(panel);
  if (panel.channels > 1) {
    draw_heat_map(canvas, panel, box, x, y);
    draw_color_bar(canvas, box, y);
  }
  draw_value_axis(canvas, panel, box, y);
  const double step = tick_step(x, 9);
  for (const double tick : ticks(x, step)) {
    const double px = box.x + box.width * x.of(tick);
    if (panel.channels == 1) canvas.line(px, box.y, px, box.y + box.height, kFaint, 1);
  }
  for (const Segment& segment : plot.segments) {
    const double start = box.x + box.width * x.of(segment.start);
    canvas.fill(
        {start, box.y, box.width * (segment.end - segment.start) / (x.high - x.low), box.height},
        kShade);
  }
  if (panel.channels == 1) draw_curve(canvas, panel, box, x, y);
  if (panel.threshold) {
    const double py = box.y + box.height * (1 - y.of(*panel.threshold));
    const double dashes[] = {9, 6};
    cairo_set_dash(canvas.get(), dashes, 2, 0);
    canvas.line(box.x, py, box.x + box.width, py, kThreshold, 1.5);
    cairo_set_dash(canvas.get(), nullptr, 0, 0);
  }
  canvas.color(kInk);
  cairo_set_line_width(canvas.get(), 1.2);
  cairo_rectangle(canvas.get(), box.x, box.y, box.width, box.height);
  cairo_stroke(canvas.get());
}

void draw_time_axis(const Canvas& canvas, const std::string& label, const Box& box, Range x) {
  const double step = tick_step(x, 9);
  const double bottom = box.y + box.height;
  for (const double tick : ticks(x, step)) {
    const double px = box.x + box.width * x.of(tick);
    canvas.line(px, bottom, px, bottom + 6, kInk, 1.2);
    canvas.text(tick_text(tick, step), px, bottom + 11, 0.5, 0);
  }
  canvas.text(label, box.x + box.width / 2, bottom + 42, 0.5, 0);
}

}  // namespace

void write_plot(const Plot& plot, const std::string& path, PlotFormat format) {
  const auto count = static_cast<double>(plot.panels.size());
  const double height = kTop + count * kPanelHeight + (count - 1) * kGap + kBottom;
  Canvas canvas(path, format, kWidth, height);
  Range x{0, 0};
  for (const Panel& panel : plot.panels) {
    x.high = std::max(x.high, static_cast<double>(panel.time()) * panel.step);
  }
  if (x.high <= 0) x.high = 1;
  const double width = kWidth - kLeft - kRight;
  Box box{kLeft, kTop, width, kPanelHeight};
  canvas.text(plot.title, kLeft, kTop / 2, 0, 0.5, kTitleSize);
  for (const Panel& panel : plot.panels) {
    draw_panel(canvas, plot, panel, box, x);
    if (&panel == &plot.panels.back()) draw_time_axis(canvas, plot.time_label, box, x);
    box.y += kPanelHeight + kGap;
  }
  canvas.save();
}

}  // namespace sl::cli
