package org.sequencelayers.flink;

import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.stream.LongStream;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.connector.file.sink.FileSink;
import org.apache.flink.core.fs.Path;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.datastream.SingleOutputStreamOperator;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.sink.filesystem.rollingpolicies.OnCheckpointRollingPolicy;
import org.apache.flink.util.ParameterTool;

/**
 * Runs a model on many sessions of audio, and writes what it makes of each block to files, exactly
 * once.
 *
 * <pre>{@code
 * flink run sequence-layers-flink-1.0.0.jar --model /models/silero_vad --recording speech.f32 \
 *     --output /results --sessions 100 --blocks 500 --block-steps 512 --period-micros 32000
 * }</pre>
 */
public final class SessionJob {
  private static final int MAX_LIVE_SESSIONS = 10000;

  private SessionJob() {}

  /**
   * Runs the job.
   *
   * @param arguments as above; {@code --max-live} is the maximum of native states of a subtask
   * @throws Exception the job failed
   */
  public static void main(String[] arguments) throws Exception {
    ParameterTool parameters = ParameterTool.fromArgs(arguments);
    int blockSteps = parameters.getInt("block-steps");
    SessionOptions options =
        new SessionOptions(
            parameters.getRequired("model"),
            blockSteps,
            parameters.getInt("max-live", MAX_LIVE_SESSIONS));
    long blocks = parameters.getLong("blocks");
    List<ReplaySplit> sessions =
        LongStream.range(0, parameters.getLong("sessions"))
            .mapToObj(i -> new ReplaySplit("session-" + i, i * blockSteps, blocks, 0))
            .toList();
    ReplaySource source =
        new ReplaySource(
            parameters.getRequired("recording"),
            blockSteps,
            parameters.getLong("period-micros", 0),
            sessions);
    StreamExecutionEnvironment environment = StreamExecutionEnvironment.getExecutionEnvironment();
    environment.enableCheckpointing(parameters.getLong("checkpoint-millis", 10000));
    write(results(replay(environment, source), options), parameters.getRequired("output"));
    environment.execute("Audio sessions");
  }

  /**
   * Adds the source.
   *
   * @param environment the job
   * @param source plays sessions
   * @return blocks of audio, in order within each session
   */
  public static DataStream<AudioBlock> replay(
      StreamExecutionEnvironment environment, ReplaySource source) {
    return environment
        .fromSource(
            source, WatermarkStrategy.noWatermarks(), "Audio", TypeInformation.of(AudioBlock.class))
        .uid("audio");
  }

  /**
   * Steps the model of each session over its blocks.
   *
   * @param blocks in order within each session
   * @param options model and sizes
   * @return a result for each block, in the same order
   */
  public static SingleOutputStreamOperator<SessionResult> results(
      DataStream<AudioBlock> blocks, SessionOptions options) {
    return blocks
        .keyBy(block -> block.session, TypeInformation.of(String.class))
        .transform("Model", TypeInformation.of(SessionResult.class), new SessionOperator(options))
        .uid("model");
  }

  /**
   * Writes results as lines: session, index, values. A file is complete when the checkpoint is that
   * contains its lines.
   *
   * @param results of the model
   * @param directory where the files go
   */
  public static void write(DataStream<SessionResult> results, String directory) {
    FileSink<SessionResult> sink =
        FileSink.<SessionResult>forRowFormat(
                new Path(directory), (result, out) -> out.write(line(result)))
            .withRollingPolicy(OnCheckpointRollingPolicy.build())
            .build();
    results.sinkTo(sink).name("Files").uid("files");
  }

  private static byte[] line(SessionResult result) {
    StringBuilder line =
        new StringBuilder().append(result.session).append(',').append(result.index);
    for (float value : result.values) {
      line.append(',').append(value);
    }
    return line.append('\n').toString().getBytes(StandardCharsets.UTF_8);
  }
}
