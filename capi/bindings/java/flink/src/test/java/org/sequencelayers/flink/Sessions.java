package org.sequencelayers.flink;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.sequencelayers.Layer;
import org.sequencelayers.State;
import org.sequencelayers.Stepper;

/** The hundred sessions of the bindings' suite: speech through the VAD. */
final class Sessions {
  private static final Path SUITE = Path.of(System.getProperty("sequencelayers.suite"));

  final int block;
  final int blocks;
  final String model;
  final String recording;
  final List<ReplaySplit> splits = new ArrayList<>();

  private Sessions(Sessions like, List<ReplaySplit> splits) {
    block = like.block;
    blocks = like.blocks;
    model = like.model;
    recording = like.recording;
    this.splits.addAll(splits);
  }

  Sessions() throws IOException {
    JsonObject streams =
        JsonParser.parseString(Files.readString(SUITE.resolve("suite.json")))
            .getAsJsonObject()
            .getAsJsonObject("streams");
    block = streams.get("block").getAsInt();
    blocks = streams.get("blocks").getAsInt();
    model = SUITE.resolve(streams.get("model").getAsString()).toString();
    recording =
        SUITE.resolve(streams.getAsJsonObject("input").get("file").getAsString()).toString();
    for (int i = 0; i < streams.getAsJsonArray("starts").size(); ++i) {
      long start = streams.getAsJsonArray("starts").get(i).getAsLong();
      splits.add(new ReplaySplit(String.format("session-%02d", i), start, blocks, 0));
    }
  }

  /** Other sessions of the same model and recording. */
  Sessions with(List<ReplaySplit> others) {
    return new Sessions(this, others);
  }

  int results() {
    return splits.size() * blocks;
  }

  SessionOptions options(int maxLiveSessions) {
    return new SessionOptions(model, block, maxLiveSessions);
  }

  ReplaySource source(long periodMicros) {
    return new ReplaySource(recording, block, periodMicros, splits);
  }

  /** The lines that the model gives without Flink, session after session. */
  List<String> withoutFlink() throws IOException {
    FloatBuffer samples =
        ByteBuffer.wrap(Files.readAllBytes(Path.of(recording)))
            .order(ByteOrder.LITTLE_ENDIAN)
            .asFloatBuffer();
    List<String> lines = new ArrayList<>();
    try (Layer layer = Layer.open(Path.of(model));
        State state = layer.newState()) {
      Stepper stepper = state.stepper(block);
      for (ReplaySplit split : splits) {
        state.reset();
        for (int i = 0; i < split.blocks(); ++i) {
          int from = (int) split.start() + i * block;
          stepper.input().floats().put(0, samples, from, block);
          stepper.step();
          lines.add(split.session() + "," + i + "," + stepper.output().floats().get(0));
        }
      }
    }
    return lines;
  }
}
